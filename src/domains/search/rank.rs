//! What comes first: by a title alone, so that thousands of candidates can be looked at, and by nothing that hangs on other
//! texts, since how rare a word is in an index says something of other tenants.

use migration::words::words;

/// Of what has the words somewhere, as a comment has.
pub const SOMEWHERE: f64 = 0.1;
/// Of an item whose identifier or number is asked for.
pub const NAMED: f64 = 1.0;

/// For all words in the title.
const IN_TITLE: f64 = 0.5;
/// A word that has merely begun counts less than a whole one.
const BEGUN: f64 = 0.8;
/// For each: the words follow each other, at the title's beginning, and are all of it.
const IN_ORDER: f64 = 0.1;

/// How well a title matches words, each with whether it may go on.
pub fn score(wanted: &[(String, bool)], title: &str) -> f64 {
    let title: Vec<String> = words(title).map(|word| word.folded).collect();
    let is = |word: &str, (wanted, may_go_on): &(String, bool)| {
        word == wanted || (*may_go_on && word.starts_with(wanted.as_str()))
    };
    let one = |wanted: &(String, bool)| {
        if title.contains(&wanted.0) {
            1.0
        } else if title.iter().any(|word| is(word, wanted)) {
            BEGUN
        } else {
            0.0
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "a few words")]
    let share = wanted.iter().map(one).sum::<f64>() / wanted.len().max(1) as f64;
    let follow = |from: usize| {
        let found = title.get(from..from + wanted.len());
        found.is_some_and(|found| found.iter().zip(wanted).all(|(word, wanted)| is(word, wanted)))
    };
    let is_in_order = (0..title.len()).any(follow);
    let begins = follow(0);
    let is_all = begins && title.len() == wanted.len();
    let bonus: f64 = [is_in_order, begins, is_all].into_iter().filter(|holds| *holds).map(|_| IN_ORDER).sum();
    // Four digits are enough, and print well.
    ((SOMEWHERE + IN_TITLE * share + bonus) * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_come_in_a_sensible_order() {
        let of = |words: &[&str], title: &str| {
            let last = words.len() - 1;
            let wanted: Vec<_> = words.iter().enumerate().map(|(at, word)| ((*word).to_owned(), at == last)).collect();
            score(&wanted, title)
        };
        let wanted = ["login", "page"];
        let titles = [
            "Login page",
            "Login pages",
            "Login page is slow",
            "The login page is slow",
            "Page after the login",
            "The pages after a login",
            "Login",
            "Nothing of it",
        ];
        let scores: Vec<f64> = titles.iter().map(|title| of(&wanted, title)).collect();
        assert!(scores.windows(2).all(|two| two[0] > two[1]), "{scores:?}");
        assert!(scores.iter().all(|score| (SOMEWHERE..NAMED).contains(score)), "{scores:?}");
        assert!(of(&["log"], "Übung, LOGIN") > of(&["log"], "Catalog"));
        assert!(of(&["ubung"], "Übung") > of(&["ubung"], "ubungen"));
        assert!((of(&["x"], "") - SOMEWHERE).abs() < 1e-9);
    }
}
