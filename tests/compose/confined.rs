//! No container of ours is root, can become it, or can write; nothing but what is meant to be is published.

use csd_tests::containers::{OURS, Stack};
use serde_json::{Value, json};

pub(crate) fn check(stack: &Stack) {
    for service in OURS {
        let container = stack.container(service).expect("it runs");
        let container = container.inspect().expect("it runs");
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert_eq!(
            host["SecurityOpt"],
            json!(["no-new-privileges:true"]),
            "{service}"
        );
        assert!(
            host["Memory"].as_u64() > Some(0),
            "{service} has no limit on memory"
        );
        assert_eq!(container["Config"]["User"], "65532:65532", "{service}");
        let ports = container["NetworkSettings"]["Ports"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let published: Vec<_> = ports
            .values()
            .filter_map(Value::as_array)
            .flatten()
            .collect();
        assert_eq!(
            published.len(),
            usize::from(service == "orchestrator"),
            "{service}: {published:?}"
        );
        assert!(
            published.iter().all(|port| port["HostIp"] == "127.0.0.1"),
            "{published:?}"
        );
    }
}
