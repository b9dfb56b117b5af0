//! TLS with real RPyC servers.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rpyc_client::{ConnectError, Connection, Port, Registrar, ServiceName, Tls, args};
use rpyc_tests::{Daemon, Reference, Transport};
use tempfile::TempDir;

use super::{Python, run};

with_each_version! {
    a_certificate_of_a_known_authority,
    a_self_signed_certificate_is_pinned,
    clients_show_who_they_are,
    a_service_found_by_name_must_prove_its_name,
}

/// A directory of certificates and keys.
pub(super) struct Papers {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let papers = Self { folder: tempfile::tempdir().unwrap(), authority };
        std::fs::write(papers.path("ca.pem"), papers.authority.pem()).unwrap();
        papers
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(&format!("{name}.crt")), certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(super) fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        // With the issuer's subject, the certificate would look self-signed.
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// Writes the kind of certificate that `openssl req -x509` makes: self-signed, an authority,
    /// and without a host name.
    pub(super) fn self_sign(&self, name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write(name, &certificate.pem(), &key);
        certificate.der().to_vec()
    }

    fn serve(&self, reference: Reference, name: &str, asks: bool) -> Python {
        let option = |option: &str, file: &str| format!("--{option}={}", self.path(file).display());
        let mut options = vec![
            option("keyfile", &format!("{name}.key")),
            option("certfile", &format!("{name}.crt")),
        ];
        options.extend(asks.then(|| option("cafile", "ca.pem")));
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        Python::start(reference, &options)
    }
}

async fn check(python: &Python, tls: Tls) {
    let root = python.connect_with(Connection::builder().tls(tls)).await.root().await.unwrap();
    assert_eq!(root.call::<i64>("echo", args![7]).await.unwrap(), 7);
    root.connection().close().await;
    assert!(root.connection().closed().await.is_orderly());
}

async fn refused(python: &Python, tls: Tls) {
    let refused = Connection::builder().tls(tls).connect(&python.address).await;
    assert!(matches!(refused, Err(ConnectError::Unreached(_))), "{refused:?}");
}

fn a_certificate_of_a_known_authority(reference: Reference) {
    let papers = Papers::new();
    papers.issue("server", "127.0.0.1");
    papers.issue("other", "other.example");
    run(async {
        let python = papers.serve(reference, "server", false);
        let tls = Tls::with_authorities(&papers.read("ca.pem")).unwrap();
        check(&python, tls.clone()).await;
        refused(&python, Tls::new()).await;
        let other = papers.serve(reference, "other", false);
        refused(&other, tls.clone()).await;
        check(&other, tls.expecting_name("other.example").unwrap()).await;
    });
}

fn a_self_signed_certificate_is_pinned(reference: Reference) {
    let papers = Papers::new();
    let der = papers.self_sign("server");
    papers.self_sign("other");
    let python = papers.serve(reference, "server", false);
    run(async {
        check(&python, Tls::pinning(&papers.read("server.crt")).unwrap()).await;
        check(&python, Tls::pinning(&der).unwrap()).await;
        check(&python, Tls::pinning_sha256(&fingerprint(reference, &papers)).unwrap()).await;
        check(&python, Tls::dangerously_trusting_anybody()).await;
        refused(&python, Tls::pinning(&papers.read("other.crt")).unwrap()).await;
        refused(&python, Tls::pinning_sha256(&"ab".repeat(32)).unwrap()).await;
        refused(&python, Tls::new()).await;
    });
    assert!(Tls::pinning_sha256("ab:cd").is_err());
    assert!(Tls::pinning_sha256(&"x".repeat(64)).is_err());
    assert!(Tls::with_authorities(b"nothing").is_err());
}

/// Computes the fingerprint in Python.
fn fingerprint(reference: Reference, papers: &Papers) -> String {
    let code = "import hashlib, json, ssl, sys\n\
        der = ssl.PEM_cert_to_DER_cert(open(sys.argv[1]).read())\n\
        print(json.dumps(hashlib.sha256(der).hexdigest().upper()))";
    let path = papers.path("server.crt");
    let digest = rpyc_tests::python::run(reference, None, code, &[path.to_str().unwrap()]);
    let digits: Vec<_> = digest.as_str().unwrap().chars().collect();
    digits.chunks(2).map(String::from_iter).collect::<Vec<_>>().join(":")
}

fn clients_show_who_they_are(reference: Reference) {
    let papers = Papers::new();
    papers.issue("server", "127.0.0.1");
    papers.issue("client", "client.example");
    let python = papers.serve(reference, "server", true);
    run(async {
        let tls = Tls::with_authorities(&papers.read("ca.pem")).unwrap();
        let identity = (papers.read("client.crt"), papers.read("client.key"));
        check(&python, tls.clone().with_identity(&identity.0, &identity.1).unwrap()).await;
        refused(&python, tls).await;
    });
}

/// A host with a certificate of its own registers the name of a service that is not its own.
fn a_service_found_by_name_must_prove_its_name(reference: Reference) {
    let papers = Papers::new();
    for (certificate, name) in
        [("host", "127.0.0.1"), ("service", "payroll"), ("domain", "payroll.example.com")]
    {
        papers.issue(certificate, name);
    }
    let daemon = Daemon::start(&[]);
    let registry =
        rpyc_client::RegistryAddr::new(rpyc_client::Transport::Udp, daemon.address(Transport::Udp));
    let registrar = Registrar::new(registry.unwrap().into());
    let payroll = ServiceName::new("PAYROLL").unwrap();
    let trusting = || Tls::with_authorities(&papers.read("ca.pem")).unwrap();
    let stating = |name| trusting().expecting_name(name).unwrap();
    let check = async |certificate: &str, accepted: &[(Tls, bool)]| {
        let python = papers.serve(reference, certificate, false);
        let port = python.address.rsplit_once(':').unwrap().1.parse().unwrap();
        let port = Port::tcp(port).unwrap();
        registrar.register(std::slice::from_ref(&payroll), &port).await.unwrap();
        for (index, (tls, is_accepted)) in accepted.iter().enumerate() {
            let builder = Connection::builder().tls(tls.clone());
            let connected = builder.connect_through(&registrar, &payroll).await;
            assert_eq!(connected.is_ok(), *is_accepted, "{certificate} {index}: {connected:?}");
            if let (Err(error), 0) = (connected, index) {
                let text = error.to_string();
                assert!(text.contains("cannot verify a server of PAYROLL"), "{text}");
                assert!(text.contains("\"payroll\""), "{text}");
            }
        }
        registrar.unregister(&port).await.unwrap();
    };
    let pinned =
        |certificate: &str| Tls::pinning(&papers.read(&format!("{certificate}.crt"))).unwrap();
    let domain = "payroll.example.com";
    run(async {
        check(
            "host",
            &[
                (trusting(), false),
                (stating(domain), false),
                (pinned("service"), false),
                (trusting().dangerously_trusting_registered_hosts(), true),
                (stating("127.0.0.1"), true),
                (pinned("host"), true),
                (Tls::dangerously_trusting_anybody(), true),
            ],
        )
        .await;
        check("domain", &[(trusting(), false), (stating(domain), true)]).await;
        check("service", &[(trusting(), true), (stating(domain), false), (Tls::new(), false)])
            .await;
    });
}
