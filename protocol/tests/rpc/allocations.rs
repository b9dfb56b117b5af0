//! What a small call costs in memory: its values, and little else.

use allocation_counter::measure;
use rpyc_protocol::rpc::{Action, Arguments, Boxed, CallOptions, Dialect};

use super::pair::{Asked, Pair, asked, completed};

/// The buffers are kept from one message to the next, so only the results are allocated.
#[test]
fn a_small_call_allocates_its_values_only() {
    for dialect in [Dialect::V5, Dialect::V6] {
        let mut pair = Pair::new(dialect);
        let (_, root) = pair.root();
        let args = Arguments { positional: vec![1.into(), 2.into()], keyword: Vec::new() };
        let action = Action::Call { args };
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let mut counts = [0; 4];
        // The first rounds make the buffers.
        for _ in 0..4 {
            let (client, server) = (&mut pair.client, &mut pair.server);
            there.clear();
            back.clear();
            let mut call = None;
            let positional;
            let options = CallOptions { deadline: Some(pair.now), ..CallOptions::default() };
            let steps = [
                measure(|| {
                    call = Some(client.request(&root, &action, options).unwrap());
                    client.poll_transmit(&mut there);
                }),
                measure(|| server.handle_bytes(pair.now, &there)),
                {
                    let Asked { id, positional: given } = asked(server);
                    positional = given;
                    measure(|| {
                        server.reply(id, &Boxed::from(3)).unwrap();
                        server.poll_transmit(&mut back);
                    })
                },
                measure(|| client.handle_bytes(pair.now, &back)),
            ];
            assert_eq!(completed(client, call.unwrap()), Boxed::from(3));
            assert_eq!(positional, [Boxed::from(1), Boxed::from(2)]);
            counts = steps.map(|step| step.count_total);
        }
        // The tuple of the operation's arguments, and the arguments.
        assert_eq!(counts, [0, 2, 0, 0], "{dialect}");
    }
}
