//! Patterns: what is one, what is none, and what each matches.

use super::*;

fn list(patterns: &[&str]) -> AllowList {
    AllowList::parse(patterns).unwrap()
}

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

#[test]
fn patterns_are_shown_as_they_are_meant() {
    for (given, shown) in [
        ("Example.COM.", "example.com"),
        ("*.Example.com:443", "*.example.com:443"),
        ("*", "*"),
        ("*:8080", "*:8080"),
        ("example.com:*", "example.com:*"),
        ("example.com:8000-8009", "example.com:8000-8009"),
        ("[::1]:80-80", "[::1]:80"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:8080", "192.0.2.7:8080"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8:443", "10.0.0.0/8:443"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[0:0::1]:80", "[::1]:80"),
        ("fd00::/8", "fd00::/8"),
        ("[fd00::/8]:*", "[fd00::/8]:*"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        let pattern: HostPattern = given.parse().unwrap();
        assert_eq!(pattern.to_string(), shown, "{given}");
        assert_eq!(shown.parse::<HostPattern>().unwrap(), pattern, "{given}");
    }
}

#[test]
fn what_was_probably_meant_is_told() {
    for (given, nearest) in [
        ("https://example.com", "example.com"),
        ("https://example.com:8443/a?b=c:9#d", "example.com:8443"),
        ("https://user:password@example.com/", "example.com"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("ssh://git@example.com/a.git", "example.com:22"),
        ("git://example.com/a.git", "example.com:9418"),
        ("git@example.com", "example.com"),
        ("example.com/path", "example.com"),
        ("example.com:https", "example.com:443"),
        ("example.com:http", "example.com:80"),
        ("example.com:ssh", "example.com:22"),
        ("example.com:0", "example.com"),
        (".example.com", "*.example.com"),
        ("*example.com:443", "*.example.com:443"),
    ] {
        let error = given.parse::<HostPattern>().unwrap_err();
        let told = error.reason.rsplit_once("; write ").map(|(_, it)| it);
        assert_eq!(told, Some(nearest), "{given}: {error}");
    }
    for unclear in [
        "",
        "a b",
        "https://",
        "127.1",
        "b\u{fc}cher.example",
        "*.*",
        "10.0.0.0/33x",
    ] {
        let error = unclear.parse::<HostPattern>().unwrap_err();
        assert!(!error.reason.contains("; write "), "{unclear}: {error}");
    }
}

#[test]
fn ranges_of_ports_are_bounded() {
    let range = list(&["example.com:8000-8009"]);
    assert_eq!(range.ports(), (8000..=8009).collect::<Vec<_>>());
    assert!(range.allows_name(&name("example.com"), 8009));
    assert!(!range.allows_name(&name("example.com"), 8010));
    for wrong in [
        "a.example:9-8",
        "a.example:-8",
        "a.example:8-",
        "a.example:0-8",
        "a.example:1-65536",
    ] {
        assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
    }
    let error = AllowList::parse(["a.example:1-101"]).unwrap_err();
    assert!(error.reason.contains("`host:*`"), "{error}");
    assert!(AllowList::parse(["a.example:1-100"]).is_ok());
}

#[test]
fn what_is_no_pattern_is_named() {
    for (given, why) in [
        ("", "at least one letter"),
        (".", "at least one letter"),
        ("a..b", "between two dots"),
        ("bücher.example", "xn--"),
        ("exa mple.com", "letters, digits"),
        ("user@example.com", "letters, digits"),
        ("evil.com\0.example.com", "letters, digits"),
        ("-a.example", "hyphen"),
        ("http://example.com", "URL"),
        ("example.com/path", "no address"),
        ("example.com:0", "1 to 65535"),
        ("example.com:+80", "1 to 65535"),
        ("example.com:65536", "1 to 65535"),
        ("example.com:", "1 to 65535"),
        ("a.*.example.com", "in front"),
        ("*example.com", "in front"),
        ("*.*", "in front"),
        ("127.1", "read as an address"),
        ("0x7f.0x1", "read as an address"),
        ("2130706433", "read as an address"),
        ("256.1.1.1", "read as an address"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("10.0.0.0/33", "0 to 32"),
        ("::ffff:127.0.0.1", "write 127.0.0.1"),
        ("::ffff:0:0/96", "IPv4 address in IPv6 form"),
        ("[::1", "not closed"),
        ("[example.com]:80", "IPv6"),
        ("[::1]80", "follow the bracket"),
        ("fe80::1%eth0", "no IPv6 address"),
        ("::1:80:zz", "no IPv6 address"),
    ] {
        let error = given.parse::<HostPattern>().unwrap_err();
        assert!(error.reason.contains(why), "{given:?}: {error}");
    }
    let long = format!("{}.example", "a".repeat(64));
    assert!(long.parse::<HostPattern>().is_err());
    let long = "a.".repeat(127);
    assert!(long.parse::<HostName>().is_ok(), "253 characters and a dot");
    assert!(format!("{long}bb").parse::<HostName>().is_err());
}

#[test]
fn names_match_by_whole_labels() {
    let list = list(&["example.com", "*.example.org:443", "*.b.example:*"]);
    let allowed = |host: &str, port| list.allows_name(&name(host), port);
    assert!(allowed("example.com", 80) && allowed("EXAMPLE.com.", 443));
    assert!(!allowed("example.com", 8080) && !allowed("www.example.com", 80));
    assert!(!allowed("notexample.com", 80) && !allowed("example.com.evil", 80));
    assert!(allowed("a.example.org", 443) && allowed("a.b.example.org", 443));
    assert!(!allowed("example.org", 443) && !allowed("evilexample.org", 443));
    assert!(allowed("x.b.example", 25) && list.has_any_port());
    assert!(list.knows(&name("a.example.org")) && !list.knows(&name("example.net")));
    assert_eq!(list.ports(), [80, 443]);
    assert!(!AllowList::default().knows(&name("example.com")));
}

#[test]
fn a_star_names_no_address_and_no_name_in_full() {
    let list = list(&["*", "10.0.0.0/8:9000", "10.1.2.3"]);
    assert!(list.allows_name(&name("localhost"), 80));
    assert!(!list.names(&name("localhost"), 80));
    let prefix = |address: &str, port| list.network_prefix(address.parse().unwrap(), port);
    assert_eq!(prefix("10.9.9.9", 9000), Some(8));
    assert_eq!(prefix("10.1.2.3", 443), Some(32));
    assert_eq!(prefix("10.9.9.9", 443), None);
    assert_eq!(prefix("11.0.0.1", 9000), None);
    assert_eq!(prefix("::a00:1", 9000), None);
}

#[test]
fn lists_are_bounded() {
    let many = (0..=PATTERNS_MAX).map(|number| format!("h{number}.example"));
    assert!(AllowList::parse(many).is_err());
    let ports = (1..=PORTS_MAX + 1).map(|port| format!("example.com:{port}"));
    assert!(
        AllowList::parse(ports)
            .unwrap_err()
            .reason
            .contains("ports")
    );
}

#[test]
fn a_list_survives_a_document() {
    let list = list(&["example.com", "[::1]:80"]);
    let text = serde_json::to_string(&list).unwrap();
    assert_eq!(text, r#"["example.com","[::1]:80"]"#);
    assert_eq!(serde_json::from_str::<AllowList>(&text).unwrap(), list);
    let error = serde_json::from_str::<AllowList>(r#"["a b"]"#).unwrap_err();
    assert!(error.to_string().contains("'a b'"), "{error}");
}
