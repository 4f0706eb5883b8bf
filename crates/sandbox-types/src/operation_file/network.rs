//! The field `network`: what an operation asks to reach.

use super::{OperationError, fields::Fields, value_error};
use crate::{AllowList, HostPattern, NetworkAccess};

const NETWORK_FIELDS: [&str; 2] = ["mode", "allow_hosts"];
static NETWORK_MODES: [(&str, NetworkAccess); 3] = [
    ("none", NetworkAccess::None),
    ("allow", NetworkAccess::Allow(AllowList::nothing())),
    ("host", NetworkAccess::Host),
];

/// Reads `"none"`, `"host"`, `{"mode": "host"}` or `{"allow_hosts": ["example.com"]}`.
pub(super) fn take(fields: &mut Fields) -> Result<Option<NetworkAccess>, OperationError> {
    if fields.is_text("network") {
        return match fields.take_choice("network", &NETWORK_MODES)? {
            Some(NetworkAccess::Allow(_)) => Err(lone_allow("network")),
            mode => Ok(mode),
        };
    }
    let Some(mut network) = fields.take_section("network")? else {
        return Ok(None);
    };
    network.refuse_unknown(&NETWORK_FIELDS)?;
    let hosts = network.take_texts("allow_hosts")?;
    let allows = |mode: &NetworkAccess| matches!(mode, NetworkAccess::Allow(_));
    let mode = network.take_choice("mode", &NETWORK_MODES)?;
    let Some(hosts) = hosts else {
        return match mode {
            Some(mode) if allows(&mode) => Err(lone_allow("network.mode")),
            mode => Ok(mode),
        };
    };
    if let Some(mode) = mode.filter(|mode| !allows(mode)) {
        let named = NETWORK_MODES.iter().find(|(_, it)| *it == mode);
        let reason =
            "a list of allowed hosts belongs to the mode `allow`, which needs not be written";
        return Err(value_error(
            "network.mode",
            named.map_or("", |(name, _)| *name),
            reason,
        ));
    }
    for (at, host) in hosts.iter().enumerate() {
        host.parse::<HostPattern>().map_err(|error| {
            value_error(&format!("network.allow_hosts[{at}]"), host, error.reason)
        })?;
    }
    let list = AllowList::parse(&hosts)
        .map_err(|error| value_error("network.allow_hosts", &error.pattern, error.reason))?;
    Ok(Some(NetworkAccess::Allow(list)))
}

fn lone_allow(field: &str) -> OperationError {
    let reason = "it needs a list of hosts, as in {\"allow_hosts\": [\"example.com:443\"]}";
    value_error(field, "allow", reason)
}
