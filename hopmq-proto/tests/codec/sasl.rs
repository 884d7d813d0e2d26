use hopmq_proto::amqp::{Credentials, LongStr, Mechanism, Method, SaslError, Secret, connection};
use proptest::prelude::*;

use crate::arbitrary::{arb, damaged, damages};

const SECRET: &str = "hunter2-hunter2";

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(LongStr::new(bytes.to_vec()).unwrap())
}

fn password() -> impl Strategy<Value = Credentials> {
    (arb(), arb()).prop_map(|(user, password)| Credentials::Password { user, password })
}

proptest! {
    #[test]
    fn the_server_reads_what_the_client_says(credentials in password()) {
        let Credentials::Password { user, password } = &credentials else { unreachable!() };
        let response = credentials.response(Mechanism::AmqPlain).unwrap();
        prop_assert_eq!(Credentials::parse(Mechanism::AmqPlain, &response), Ok(credentials.clone()));

        let has_nul = [user.as_bytes(), password.expose().as_bytes()].concat().contains(&0);
        match credentials.response(Mechanism::Plain) {
            Some(response) => {
                prop_assert!(!has_nul);
                prop_assert_eq!(Credentials::parse(Mechanism::Plain, &response), Ok(credentials));
            }
            None => prop_assert!(has_nul, "only a NUL cannot be said in PLAIN"),
        }
    }

    #[test]
    fn a_damaged_response_is_refused_or_read(credentials in password(), damages in damages()) {
        for mechanism in [Mechanism::Plain, Mechanism::AmqPlain] {
            let Some(response) = credentials.response(mechanism) else { continue };
            let bytes = damaged(response.expose().as_bytes(), &damages);
            if let Ok(read) = Credentials::parse(mechanism, &secret(&bytes)) {
                let again = read.response(mechanism).unwrap();
                prop_assert_eq!(Credentials::parse(mechanism, &again), Ok(read));
            }
        }
    }

    #[test]
    fn debug_shows_no_secret(user: String) {
        let credentials = Credentials::new(&user.replace(SECRET, ""), SECRET);
        let mut shown = format!("{credentials:?} {credentials:#?}");
        for mechanism in [Mechanism::Plain, Mechanism::AmqPlain] {
            let response = credentials.response(mechanism).unwrap_or_else(|| secret(SECRET.as_bytes()));
            let methods: [Method; 3] = [
                connection::StartOk { response: response.clone(), ..Default::default() }.into(),
                connection::SecureOk { response: response.clone() }.into(),
                connection::UpdateSecret { new_secret: response.clone(), ..Default::default() }.into(),
            ];
            shown += &format!("{response:?} {response:#?} {methods:?} {methods:#?}");
        }
        prop_assert!(!shown.contains("hunter2"), "{}", shown);
    }
}

#[test]
fn plain_is_two_nul_separated_strings_behind_an_empty_identity() {
    let credentials = Credentials::new("guest", "secret");
    assert_eq!(credentials.response(Mechanism::Plain), Some(secret(b"\0guest\0secret")));
    assert_eq!(Credentials::parse(Mechanism::Plain, &secret(b"ignored\0guest\0secret")), Ok(credentials));
    for bytes in [b"".as_slice(), b"guest", b"\0guest", b"\0guest\0secret\0more"] {
        let refused = Credentials::parse(Mechanism::Plain, &secret(bytes));
        assert_eq!(refused, Err(SaslError(Mechanism::Plain)), "{bytes:?}");
    }
}

#[test]
fn amqplain_is_a_table_without_its_length() {
    let credentials = Credentials::new("guest", "secret");
    let bytes = b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x06secret";
    assert_eq!(credentials.response(Mechanism::AmqPlain), Some(secret(bytes)));
    assert_eq!(Credentials::parse(Mechanism::AmqPlain, &secret(bytes)), Ok(credentials));
    for bytes in
        [b"".as_slice(), b"\x05LOGINV", &bytes[..bytes.len() - 1], &[&[0, 0, 0, 38], &bytes[..]].concat()]
    {
        let refused = Credentials::parse(Mechanism::AmqPlain, &secret(bytes));
        assert_eq!(refused, Err(SaslError(Mechanism::AmqPlain)), "{bytes:?}");
    }
}

#[test]
fn external_says_nothing() {
    assert_eq!(Credentials::External.response(Mechanism::External), Some(Secret::default()));
    assert_eq!(Credentials::External.response(Mechanism::Plain), None);
    assert_eq!(Credentials::new("u", "p").response(Mechanism::External), Some(Secret::default()));
    assert_eq!(Credentials::parse(Mechanism::External, &secret(b"ignored")), Ok(Credentials::External));
}

#[test]
fn a_mechanism_is_chosen_by_its_whole_name() {
    let password = Credentials::new("u", "p");
    assert_eq!(chosen(&password, &[], b"AMQPLAIN PLAIN"), Some(Mechanism::Plain));
    assert_eq!(chosen(&password, &[], b"AMQPLAIN"), Some(Mechanism::AmqPlain));
    assert_eq!(chosen(&password, &[], b"XPLAIN PLAINX RABBIT-CR-DEMO"), None);
    assert_eq!(chosen(&password, &[], b"EXTERNAL"), None, "the password is there to be used");
    assert_eq!(chosen(&Credentials::External, &[], b"PLAIN EXTERNAL"), Some(Mechanism::External));
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name().as_bytes()), Some(mechanism));
    }
}

#[test]
fn the_first_preferred_mechanism_that_is_offered_and_fits_is_chosen() {
    use Mechanism::{AmqPlain, External, Plain};
    let password = Credentials::new("u", "p");
    for (preferred, offered, expected) in [
        (&[AmqPlain, Plain][..], "PLAIN AMQPLAIN EXTERNAL", Some(AmqPlain)),
        (&[AmqPlain, Plain], "PLAIN", Some(Plain)),
        (&[External, Plain], "PLAIN EXTERNAL", Some(External)),
        (&[External, Plain], "PLAIN", Some(Plain)),
        (&[External], "PLAIN AMQPLAIN", None),
    ] {
        assert_eq!(chosen(&password, preferred, offered.as_bytes()), expected, "{preferred:?} of {offered}");
    }
    assert_eq!(chosen(&Credentials::External, &[Plain, External], b"PLAIN EXTERNAL"), Some(External));
    let nul = Credentials::new("u", "p\0");
    assert_eq!(chosen(&nul, &[], b"PLAIN AMQPLAIN"), Some(AmqPlain), "PLAIN cannot carry it");
}

fn chosen(credentials: &Credentials, preferred: &[Mechanism], offered: &[u8]) -> Option<Mechanism> {
    let (mechanism, response) = credentials.choose(preferred, offered)?;
    assert_eq!(credentials.response(mechanism), Some(response));
    Some(mechanism)
}
