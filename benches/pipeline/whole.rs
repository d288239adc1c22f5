//! The whole daemon on the embedded store: import to committed alerts; and the fold of its log alone.

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use intentd::app::{App, open_store};
use intentd::cli::feeding::{Reading, feed};
use intentd::config::Config;
use intentd::domain::catalog::Catalog;
use intentd::domain::codec::decode;
use intentd::domain::event::{Position, UserEvent};
use intentd::domain::features::FeatureState;
use intentd::domain::plan::Plan;
use intentd::import::lines::Chunks;
use intentd::import::names::Names;
use intentd::projection::{AlertQuery, Views as _};
use intentd::store::{Direction, Filter};

/// What the import did.
pub struct Imported {
    pub accepted: u64,
    pub alerts: u64,
}

/// Imports a log; answers when every alert is committed and visible.
pub fn import(file: &Path, catalog: &Catalog, config: &Config) -> Imported {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let app = App::start(config, catalog.clone()).await.unwrap();
        let chunks = Chunks::open(file, |raw| raw).unwrap();
        let reading = Reading {
            names: Names::default(),
            skip_lines: 0,
            skip_bad: false,
            future_max: config.ingest.future_max,
        };
        let (fed, done) = feed(chunks, &app.daemon, &Arc::clone(&app.catalog), reading, |_| ()).await;
        done.unwrap();
        app.daemon.settled(fed.position.unwrap()).await;
        let one = AlertQuery { limit: 1, ..AlertQuery::default() };
        assert!(app.views.alerts(&one).is_ok());
        let alerts = app.views.stats(None, None).unwrap().total;
        app.stop().await;
        Imported { accepted: fed.accepted, alerts }
    })
}

/// Reads the log that [`import`] left, decodes and folds every event.
pub fn replay(catalog: &Catalog, config: &Config) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let plan = Plan::compile(catalog);
    let mut users: HashMap<String, FeatureState> = HashMap::new();
    runtime.block_on(async {
        let store = open_store(config).unwrap();
        let filter = Filter::streams(&["user-"]);
        let mut from = None;
        loop {
            let page = store.read_all(from, Direction::Forwards, &filter, 16_384).await.unwrap();
            for recorded in &page.events {
                let Ok(UserEvent::Behaviour(event)) = decode(catalog, recorded) else { continue };
                match users.get_mut(&*recorded.stream) {
                    Some(user) => user.apply(&plan, &event),
                    None => {
                        let mut user = FeatureState::new();
                        user.apply(&plan, &event);
                        users.insert(recorded.stream.to_string(), user);
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(Position(next)),
                None => return users.len(),
            }
        }
    })
}
