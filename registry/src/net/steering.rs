//! Linux: steers each unicast datagram to the lane of its source.

use std::io;

use nix::libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MISC, BPF_MOD,
    BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X, BPF_XOR, sock_filter, sock_fprog,
};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use super::lane::{MULTIPLIER, SHIFT};

/// Where the network header begins, in the addressing of filters (`SKF_NET_OFF` of
/// `linux/filter.h`). A filter of a reuseport group sees the payload at 0.
const NETWORK_HEADER: u32 = 0xfff0_0000;

/// The offset of the source address in an IPv4 header (RFC 791) and in an IPv6 header (RFC 8200).
const IPV4_SOURCE: u32 = NETWORK_HEADER + 12;
const IPV6_SOURCE: u32 = NETWORK_HEADER + 8;

/// Steers the datagrams of the group of sockets that `socket` is in. The number of a socket, in the
/// order of binding, is the lane of the source address as computed by
/// [`Lane::serves`](super::lane::Lane::serves).
///
/// # Errors
/// The system's, if it rejects the program (Linux accepts it since 4.5).
pub(crate) fn steer(socket: &Socket, lanes: u32) -> io::Result<()> {
    let mut program = program(lanes);
    let program = sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_mut_ptr(),
    };
    setsockopt(socket, sockopt::AttachReusePortCbpf, &program)?;
    Ok(())
}

fn program(lanes: u32) -> Vec<sock_filter> {
    let fold = |offset| [load(BPF_W, IPV6_SOURCE + offset), alu(BPF_XOR | BPF_X, 0), to_index()];
    let mut program = vec![
        load(BPF_B, NETWORK_HEADER),
        alu(BPF_RSH, 4),
        // Branches by the version of IP.
        jump(BPF_JEQ, 6, 2, 0),
        load(BPF_W, IPV4_SOURCE),
        jump(BPF_JA, 11, 0, 0),
        load(BPF_W, IPV6_SOURCE),
        to_index(),
    ];
    program.extend([4, 8, 12].into_iter().flat_map(fold));
    program.extend([
        alu(BPF_MUL, MULTIPLIER),
        alu(BPF_RSH, SHIFT),
        alu(BPF_MOD, lanes.max(1)),
        // Returns the accumulator.
        instruction(BPF_RET | BPF_A, 0),
    ]);
    program
}

fn load(size: u32, offset: u32) -> sock_filter {
    instruction(BPF_LD | size | BPF_ABS, offset)
}

fn alu(operation: u32, operand: u32) -> sock_filter {
    instruction(BPF_ALU | operation | BPF_K, operand)
}

/// Copies the accumulator to the index register.
fn to_index() -> sock_filter {
    instruction(BPF_MISC | BPF_TAX, 0)
}

fn jump(condition: u32, operand: u32, if_true: u8, if_false: u8) -> sock_filter {
    let jump = instruction(BPF_JMP | condition | BPF_K, operand);
    sock_filter { jt: if_true, jf: if_false, ..jump }
}

fn instruction(code: u32, operand: u32) -> sock_filter {
    let code = u16::try_from(code).unwrap_or(0);
    sock_filter { code, jt: 0, jf: 0, k: operand }
}
