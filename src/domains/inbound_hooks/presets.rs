//! What GitHub's and GitLab's events mean without a mapping: an issue that is opened becomes an item; a push to the default
//! branch and a merged request that say `fixes ACME-42` finish that item, with a comment that links to them.

use serde_json::Value as Json;

use super::{
    closing::closed,
    mapping::{MAX_TITLE, cut},
};
use crate::{base::enums::InboundProvider, domains::teams::input::MAX_DESCRIPTION};

/// Items that one callback finishes; the rest is left out, and its receipt says so.
pub const MAX_IDENTIFIERS: usize = 50;
/// Commits of a push that are read.
pub const MAX_COMMITS: usize = 100;

/// What a provider's event asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Create {
        title: String,
        description: String,
    },
    /// Each item once, with what it is finished by.
    Finish {
        items: Vec<Finished>,
        /// Whether there was more than one callback does.
        is_cut: bool,
    },
    /// Nothing; why.
    Nothing(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// `ACME-42`, in upper case.
    pub identifier: String,
    pub comment: String,
}

/// Reads an event of a provider that has a preset.
pub fn read(provider: InboundProvider, event: &str, body: &Json) -> Ask {
    match (provider, event) {
        (InboundProvider::Github, "ping") => Ask::Nothing("a ping"),
        (InboundProvider::Github, "issues") if body["action"] == "opened" => {
            issue(&body["issue"]["title"], &body["issue"]["body"], &body["issue"]["html_url"])
        }
        (InboundProvider::Github, "push") => push(body, &body["repository"]["default_branch"]),
        (InboundProvider::Github, "pull_request") => {
            let pull = &body["pull_request"];
            if body["action"] == "closed" && pull["merged"] == true {
                merged(&pull["title"], &pull["body"], &pull["html_url"])
            } else {
                Ask::Nothing("a pull request that was not merged just now")
            }
        }
        (InboundProvider::Gitlab, "Issue Hook") if body["object_attributes"]["action"] == "open" => {
            let issue_ = &body["object_attributes"];
            issue(&issue_["title"], &issue_["description"], &issue_["url"])
        }
        (InboundProvider::Gitlab, "Push Hook") => push(body, &body["project"]["default_branch"]),
        (InboundProvider::Gitlab, "Merge Request Hook") => {
            let request = &body["object_attributes"];
            if request["action"] == "merge" {
                merged(&request["title"], &request["description"], &request["url"])
            } else {
                Ask::Nothing("a merge request that was not merged just now")
            }
        }
        _ => Ask::Nothing("an event that the preset does not act on"),
    }
}

fn issue(title: &Json, text: &Json, link: &Json) -> Ask {
    let (title, text, link) = (words(title), words(text), words(link));
    if title.trim().is_empty() {
        return Ask::Nothing("an issue without a title");
    }
    let description = match text.trim() {
        "" => link.to_owned(),
        text => format!("{}\n\n{link}", cut(text, MAX_DESCRIPTION - 2100)),
    };
    Ask::Create { title: cut(title, MAX_TITLE), description: cut(&description, MAX_DESCRIPTION) }
}

fn push(body: &Json, default_branch: &Json) -> Ask {
    let branch = words(&body["ref"]).strip_prefix("refs/heads/").unwrap_or_default();
    if branch.is_empty() || branch != words(default_branch) {
        return Ask::Nothing("a push to another branch than the default one");
    }
    let commits = body["commits"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = commits.iter().take(MAX_COMMITS).map(|commit| {
        let (message, link) = (words(&commit["message"]), words(&commit["url"]));
        let subject = message.lines().next().unwrap_or_default();
        (message, format!("Done by {link}: {}", cut(subject, 200)))
    });
    finish(texts, commits.len() > MAX_COMMITS, "no commit says `fixes` with an item")
}

fn merged(title: &Json, text: &Json, link: &Json) -> Ask {
    let (title, link) = (words(title), words(link));
    let comment = format!("Done by {link}: {}", cut(title, 200));
    let texts = [title, words(text)].into_iter().map(|text| (text, comment.clone()));
    finish(texts, false, "it does not say `fixes` with an item")
}

/// What texts say is done, each with its comment.
fn finish<'t>(texts: impl Iterator<Item = (&'t str, String)>, is_cut: bool, otherwise: &'static str) -> Ask {
    let mut items: Vec<Finished> = Vec::new();
    for (text, comment) in texts {
        for identifier in closed(text) {
            if items.iter().all(|known| known.identifier != identifier) {
                items.push(Finished { identifier, comment: comment.clone() });
            }
        }
    }
    if items.is_empty() {
        return Ask::Nothing(otherwise);
    }
    let is_cut = is_cut || items.len() > MAX_IDENTIFIERS;
    items.truncate(MAX_IDENTIFIERS);
    Ask::Finish { items, is_cut }
}

fn words(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_push_counts_on_the_default_branch_alone() {
        let body = |branch: &str| {
            json!({ "ref": format!("refs/heads/{branch}"), "repository": { "default_branch": "main" }, "commits": [
                { "message": "Fixes ACME-1\n\nmore", "url": "https://example.com/c/1" },
                { "message": "fixes ACME-1 again", "url": "https://example.com/c/2" },
            ] })
        };
        let comment = "Done by https://example.com/c/1: Fixes ACME-1".to_owned();
        let items = vec![Finished { identifier: "ACME-1".to_owned(), comment }];
        assert_eq!(read(InboundProvider::Github, "push", &body("main")), Ask::Finish { items, is_cut: false });
        assert!(matches!(read(InboundProvider::Github, "push", &body("other")), Ask::Nothing(_)));
        assert!(matches!(read(InboundProvider::Github, "push", &json!({})), Ask::Nothing(_)));
    }
}
