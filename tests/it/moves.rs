//! Items that change their parents at once.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{items::mutate, support::app::TestApp};
use todo_test_macros::databases;

/// How many items move in a ring.
const RING: usize = 12;

/// Each goes under the next, round and round: whoever comes last would close the ring.
#[databases]
async fn a_ring_of_moves_ends_at_once_and_stays_a_tree(app: TestApp) {
    let acme = app.company("acme").await;
    let app = app.another_instance(|config| config.database.max_connections = 40).await;
    for round in 0..3 {
        let mut items = Vec::new();
        for n in 0..RING {
            let input = json!({ "title": format!("{round}.{n}"), "status": "TODO" });
            items.push(app.create(&acme, &acme.member, "item", input).await);
        }
        let moves = (0..RING).map(|n| {
            let person = [&acme.owner, &acme.admin, &acme.member][n % 3];
            let patch = json!({ "parentId": items[(n + 1) % RING] });
            mutate(&app, &acme, person, ("itemUpdate", "item { id }"), json!({ "id": items[n], "patch": patch }))
                .answer()
        });
        // Meanwhile others change the same items, which moves the counts of their parents.
        let changes = (0..RING).map(|n| {
            let person = [&acme.owner, &acme.admin, &acme.member][n % 3];
            let patch = json!({ "status": "DONE" });
            mutate(&app, &acme, person, ("itemUpdate", ""), json!({ "id": items[n], "patch": patch })).answer()
        });
        let all = async { tokio::join!(join_all(moves), join_all(changes)) };
        let (moved, changed) = tokio::time::timeout(Duration::from_secs(60), all).await.expect("nobody waits for ever");
        let mut refused = 0;
        for answer in &moved {
            assert!(answer.get("errors").is_none(), "{answer:#}");
            for error in answer["data"]["itemUpdate"]["userErrors"].as_array().expect("a list") {
                let is_expected = error["code"] == "CYCLE" || error["path"] == json!(["input", "patch", "parentId"]);
                assert!(is_expected, "{error:#}");
                refused += 1;
            }
        }
        assert!((1..RING).contains(&refused), "{refused} of {RING} moves were refused");
        for answer in &changed {
            assert_eq!(answer["data"]["itemUpdate"]["userErrors"], json!([]), "{answer:#}");
        }
        stays_a_tree(&app, &acme, &items).await;
    }
    app.state.db.close().await;
}

/// No item is its own ancestor, and parents count their subtasks.
async fn stays_a_tree(app: &TestApp, acme: &crate::support::world::Company, items: &[String]) {
    let query =
        "{ items(first: 100) { nodes { id parent { id } subtasks { totalCount } subtaskProgress { total done } } } }";
    let data = app.call(acme, &acme.owner, query).data().await;
    let nodes = data["items"]["nodes"].as_array().expect("a list");
    let parents: HashMap<&Value, &Value> = nodes.iter().map(|node| (&node["id"], &node["parent"]["id"])).collect();
    for node in nodes {
        assert_eq!(node["subtaskProgress"]["total"], node["subtasks"]["totalCount"], "{node:#}");
        assert_eq!(node["subtaskProgress"]["done"], node["subtasks"]["totalCount"], "{node:#}");
    }
    for id in items {
        let (mut above, mut id) = (0, &json!(id));
        while let Some(parent) = parents.get(id).filter(|parent| !parent.is_null()) {
            (above, id) = (above + 1, parent);
            assert!(above <= items.len(), "a ring");
        }
    }
}
