//! The file: its tables, how it is opened, and when it is begun anew.
//!
//! Law: no migrations. The file is derived, so another schema number or another store means deleting it and folding the
//! log again; only a file that carries our mark is ever deleted.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use uuid::Uuid;

use super::Options;
use super::failure::translate;
use crate::domain::event::Position;
use crate::projection::Error;
use crate::store::StoreId;

/// Raised with every change of the tables or of what a fold puts into them: the file is then folded again.
pub(super) const SCHEMA: i64 = 3;
/// Marks the file as ours in SQLite's header: "intd".
const MARK: i64 = 0x696e_7464;
/// Bytes of a page: a score with forty features takes one, where the default 4,096 would spill it.
const PAGE_BYTES: u64 = 8192;
/// Pages in the write-ahead log before it is folded into the file: 32 MB, so that hot pages are written back once for
/// some thousand batches.
const WAL_PAGES: i64 = 4096;
/// How long to wait for another connection's lock: only the write-ahead log's recovery after a crash takes one.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection: more than there are shapes of queries in ordinary use.
const STATEMENTS: usize = 64;

/// `position` is a place in `$all`; all other times are milliseconds since the epoch. Columns in an index behind the sort
/// key let filters be checked without the row.
const TABLES: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1), store BLOB NOT NULL, checkpoint INTEGER,
    users INTEGER NOT NULL, first_ms INTEGER, last_ms INTEGER, conversion_events TEXT NOT NULL
) STRICT;
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE users_text USING fts5
    (name, content = 'users', content_rowid = 'id', tokenize = 'trigram', columnsize = 0);
CREATE TABLE features (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE tops (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE versions (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE alerts (
    position INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, user INTEGER NOT NULL, model INTEGER NOT NULL,
    top INTEGER NOT NULL, status INTEGER NOT NULL, priority INTEGER NOT NULL, raw REAL NOT NULL,
    probability REAL NOT NULL, scored_at INTEGER NOT NULL, created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, snoozed_until INTEGER, due_at INTEGER, escalations INTEGER NOT NULL,
    outcome INTEGER, converted INTEGER, conversion_value REAL, opened_at INTEGER NOT NULL, response_ms INTEGER,
    changed INTEGER NOT NULL, model_version TEXT NOT NULL, reasons TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_user ON alerts (user, scored_at, position);
CREATE INDEX alerts_scored ON alerts (scored_at, position, model);
CREATE INDEX alerts_state ON alerts (status, priority, scored_at, position, model);
CREATE INDEX alerts_probability ON alerts (probability, position, status, priority, model, scored_at);
CREATE INDEX alerts_created ON alerts
    (created_at, model, status, priority, response_ms, converted, conversion_value);
CREATE INDEX alerts_due ON alerts (due_at, position, user) WHERE due_at IS NOT NULL;
CREATE TABLE history (
    position INTEGER PRIMARY KEY, alert INTEGER NOT NULL, event_id BLOB NOT NULL, event_type TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX history_alert ON history (alert);
CREATE TABLE signals (
    position INTEGER PRIMARY KEY, user INTEGER NOT NULL, detected_at INTEGER NOT NULL, event_id BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX signals_user ON signals (user, detected_at);
CREATE TABLE parked (
    position INTEGER PRIMARY KEY, user INTEGER NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (user, revision)
) STRICT;
CREATE TABLE unscored (user INTEGER PRIMARY KEY, newest INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX unscored_newest ON unscored (newest);
CREATE TABLE conversions (
    user INTEGER NOT NULL, model INTEGER NOT NULL, occurred_at INTEGER NOT NULL, converted INTEGER NOT NULL,
    value REAL, PRIMARY KEY (user, model, occurred_at)
) STRICT, WITHOUT ROWID;
CREATE TABLE happened (
    user INTEGER NOT NULL, model INTEGER NOT NULL, at INTEGER NOT NULL, source INTEGER NOT NULL,
    PRIMARY KEY (user, model, at, source)
) STRICT, WITHOUT ROWID;
CREATE TABLE scores (
    position INTEGER PRIMARY KEY, user INTEGER NOT NULL, model INTEGER NOT NULL, as_of INTEGER NOT NULL,
    revision INTEGER NOT NULL, alert INTEGER NOT NULL, version INTEGER NOT NULL, probability REAL NOT NULL,
    converted_at INTEGER, outcome INTEGER, converted INTEGER, outcomes INTEGER NOT NULL
) STRICT;
CREATE INDEX scores_user ON scores (user, model, as_of, revision, alert);
CREATE TABLE shadows (
    position INTEGER PRIMARY KEY, user INTEGER NOT NULL, model INTEGER NOT NULL, as_of INTEGER NOT NULL,
    version INTEGER NOT NULL, champion INTEGER NOT NULL, probability REAL NOT NULL,
    champion_probability REAL NOT NULL, would_alert INTEGER NOT NULL, champion_would_alert INTEGER NOT NULL,
    converted_at INTEGER
) STRICT;
CREATE INDEX shadows_user ON shadows (user, model, as_of);
";

/// Why the file was begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It had the tables of another release.
    Schema {
        /// The number it carried.
        found: i64,
    },
    /// It was folded from another store.
    Store {
        /// That store.
        found: StoreId,
    },
    /// The catalogue has named other events as conversions since.
    ConversionEvents,
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema { found } => write!(f, "it had schema {found}, this release has {SCHEMA}"),
            Self::Store { found } => write!(f, "it was folded from store {found}"),
            Self::ConversionEvents => write!(f, "the catalogue names other events as conversions"),
        }
    }
}

/// An open file.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) checkpoint: Option<Position>,
    pub(super) reset: Option<Reset>,
}

enum Found {
    Empty,
    Ours(Option<Position>),
    Outdated(Reset),
    Foreign,
}

/// Opens, creates, or begins anew.
pub(super) fn open(path: &Path, store: StoreId, options: &Options) -> Result<Opened, Error> {
    let fail = |error| translate(path, error);
    let connection = connect(path, options).map_err(fail)?;
    let conversion_events = conversion_events(options)?;
    match inspect(&connection, store, &conversion_events).map_err(fail)? {
        Found::Ours(checkpoint) => Ok(Opened { connection, checkpoint, reset: None }),
        Found::Empty => {
            create(&connection, store, &conversion_events).map_err(fail)?;
            Ok(Opened { connection, checkpoint: None, reset: None })
        }
        Found::Outdated(reset) => {
            drop(connection);
            delete(path)?;
            let connection = connect(path, options).map_err(fail)?;
            create(&connection, store, &conversion_events).map_err(fail)?;
            Ok(Opened { connection, checkpoint: None, reset: Some(reset) })
        }
        Found::Foreign => Err(Error::Unusable {
            path: path.display().to_string(),
            reason: "it is an SQLite file of another program".to_owned(),
        }),
    }
}

fn connect(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    keep_statements(&connection)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With WAL, NORMAL cannot damage the file; a power cut may lose the newest transactions whole, checkpoint included,
    // and they are folded again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "cache_size", cache_size(options.writer_cache_bytes))?;
    let pages = (options.file_bytes_max / PAGE_BYTES).clamp(1, u64::from(u32::MAX) - 1);
    connection.pragma_update(None, "max_page_count", pages.cast_signed())?;
    Ok(connection)
}

/// Statements are kept prepared, and values bound to them never make SQLite plan anew (it otherwise does at every run when
/// there is a partial index: a tenth of the fold's time).
pub(super) fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// SQLite takes a cache's bound in KiB as a negative number.
pub(super) fn cache_size(bytes: u32) -> i64 {
    -i64::from(bytes / 1024)
}

/// The conversion events as the file remembers them: figures folded by others are not ours.
fn conversion_events(options: &Options) -> Result<String, Error> {
    serde_json::to_string(&options.conversion_events)
        .map_err(|error| Error::Unavailable { reason: error.to_string() })
}

fn inspect(connection: &Connection, store: StoreId, conversion_events: &str) -> rusqlite::Result<Found> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Found::Empty);
    }
    if number("application_id")? != MARK {
        return Ok(Found::Foreign);
    }
    let found = number("user_version")?;
    if found != SCHEMA {
        return Ok(Found::Outdated(Reset::Schema { found }));
    }
    let meta = connection
        .query_row("SELECT store, checkpoint, conversion_events FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((found, checkpoint, folded_by)) = meta else {
        return Ok(Found::Outdated(Reset::Schema { found }));
    };
    let found = StoreId(Uuid::from_bytes(found));
    if found != store {
        return Ok(Found::Outdated(Reset::Store { found }));
    }
    if folded_by != conversion_events {
        return Ok(Found::Outdated(Reset::ConversionEvents));
    }
    let checkpoint: Option<i64> = checkpoint;
    Ok(Found::Ours(checkpoint.map(|at| Position(at.cast_unsigned()))))
}

fn create(connection: &Connection, store: StoreId, conversion_events: &str) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO meta (id, store, users, conversion_events) VALUES (1, ?1, 0, ?2)",
        rusqlite::params![store.0.as_bytes(), conversion_events],
    )?;
    transaction.pragma_update(None, "application_id", MARK)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

fn delete(path: &Path) -> Result<(), Error> {
    for suffix in ["-wal", "-shm", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::Unavailable {
                reason: format!("{} cannot be deleted: {error}", file.display()),
            });
        }
    }
    Ok(())
}
