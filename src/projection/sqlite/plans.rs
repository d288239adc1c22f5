//! Tests of the plans: what SQLite says it would do for the queries that must stay fast beside a million alerts.

use rusqlite::{Connection, params_from_iter};

use super::alerts;
use super::row::{Names, intern};
use super::schema;
use crate::domain::alert::Status;
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;
use crate::projection::{AlertQuery, Sort};
use crate::store::StoreId;

fn empty() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sqlite");
    let opened = schema::open(&path, StoreId(uuid::Uuid::nil()), &super::Options::default()).unwrap();
    intern(&opened.connection, Names::Models, "SELL").unwrap();
    intern(&opened.connection, Names::Features, "a_feature").unwrap();
    intern(&opened.connection, Names::Users, "zoe").unwrap();
    (folder, opened.connection)
}

/// The plan's lines, without the subqueries that only look names up.
fn plan(connection: &Connection, query: &AlertQuery) -> Vec<String> {
    let first = alerts::select(connection, query, None).unwrap().unwrap();
    let key = super::cursor::Key { priority: 3, main: 5, position: 6 };
    let later = alerts::select(connection, query, Some(key)).unwrap().unwrap();
    let mut lines = Vec::new();
    for select in [first, later] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.sql)).unwrap();
        let mut rows = statement.query(params_from_iter(select.values)).unwrap();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap());
        }
    }
    lines
}

fn check(query: &AlertQuery, index: &str) {
    let (_folder, connection) = empty();
    let lines = plan(&connection, query);
    let walks: Vec<&String> = lines.iter().filter(|line| line.contains(" alerts ")).collect();
    assert!(!walks.is_empty() && walks.iter().all(|line| line.contains(index)), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("TEMP B-TREE FOR ORDER BY")), "sorts: {lines:#?}");
}

#[test]
fn every_list_is_read_along_an_index_in_its_own_order() {
    let all = AlertQuery { limit: 50, ..AlertQuery::default() };
    let user = Some("u".parse().unwrap());
    let pending = vec![Status::Pending, Status::Snoozed];
    let from = Some(Timestamp::from_millis(9));
    let models = vec!["SELL".to_owned()];
    let urgent = vec![Priority::High];
    let by_priority = AlertQuery { sort: Sort::PriorityDescending, ..all.clone() };
    let calibrated = AlertQuery { sort: Sort::CalibratedScoreDescending, ..all.clone() };
    let within_user = "INDEX alerts_user (user=?";
    let within_state = "INDEX alerts_state (status=? AND priority=?";
    check(&AlertQuery { user: user.clone(), ..all.clone() }, within_user);
    check(&AlertQuery { user, status: pending.clone(), from, ..all.clone() }, within_user);
    check(&all, "INDEX alerts_scored");
    check(&AlertQuery { from, to: from, ..all.clone() }, "INDEX alerts_scored (scored_at>?");
    check(&AlertQuery { model_type: models.clone(), ..all.clone() }, "INDEX alerts_scored");
    check(&AlertQuery { text: Some("a".into()), ..all.clone() }, "INDEX alerts_scored");
    check(&AlertQuery { status: pending.clone(), ..all.clone() }, within_state);
    check(&AlertQuery { status: pending.clone(), from, model_type: models, ..all.clone() }, within_state);
    check(&AlertQuery { priority: urgent.clone(), text: Some("a".into()), ..all }, within_state);
    check(&by_priority, within_state);
    check(&AlertQuery { status: pending.clone(), priority: urgent, ..by_priority }, within_state);
    check(&calibrated, "INDEX alerts_probability");
    check(&AlertQuery { status: pending, ..calibrated }, "INDEX alerts_probability");
}

#[test]
fn a_text_that_finds_few_looks_at_theirs_and_one_that_finds_nothing_at_none() {
    let (_folder, connection) = empty();
    for sort in [Sort::ScoredAtDescending, Sort::PriorityDescending, Sort::CalibratedScoreDescending] {
        for text in ["zoe", "ZO", "oe", "z"] {
            let query = AlertQuery { sort, text: Some(text.into()), limit: 50, ..AlertQuery::default() };
            let lines = plan(&connection, &query);
            let walks: Vec<&String> = lines.iter().filter(|line| line.contains(" alerts ")).collect();
            let theirs = |line: &&String| line.contains("INDEX alerts_user (user=?");
            assert!(!walks.is_empty() && walks.iter().all(theirs), "{text}: {lines:#?}");
        }
    }
    for text in ["zoey", "o_", "%", "z\u{e9}"] {
        let query = AlertQuery { text: Some(text.into()), ..AlertQuery::default() };
        assert!(alerts::select(&connection, &query, None).unwrap().is_none(), "{text}");
    }
}

#[test]
fn figures_and_due_read_only_their_index_and_sort_nothing() {
    let (_folder, connection) = empty();
    for (sql, index) in [
        (super::stats::SELECT, "COVERING INDEX alerts_created (created_at>? AND created_at<?)"),
        (super::lists::DUE, "COVERING INDEX alerts_due (due_at<?)"),
        (super::performance::RECENT, "COVERING INDEX alerts_created (created_at>? AND created_at<?)"),
        (super::performance::CONVERSIONS, "COVERING INDEX scores_user (user=? AND model=? AND as_of<?)"),
        (super::performance::SCORES, "SCAN scores"),
        (super::shadows::SHADOWS, "SCAN shadows"),
    ] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![0i64; statement.parameter_count()];
        let mut rows = statement.query(params_from_iter(values)).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap());
        }
        assert!(lines.iter().any(|line| line.contains(index)), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("TEMP B-TREE")), "{lines:#?}");
    }
}
