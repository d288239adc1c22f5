//! Prints every alert once, and goes on where it stopped. Usage: alerts URI PLACE_FILE

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

use kurrentdb::{
    Client, Position, StreamPosition, SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    model_type: String,
    priority: String,
}

/// The new place is whole or not there: a crash here repeats one alert and loses none.
fn keep(place: &Path, at: u64) -> io::Result<()> {
    let beside = place.with_extension("new");
    fs::write(&beside, at.to_string())?;
    fs::rename(beside, place)
}

fn kept(place: &Path) -> Result<StreamPosition<Position>, Box<dyn Error>> {
    match fs::read_to_string(place) {
        Ok(text) => {
            let at = text.trim().parse()?;
            Ok(StreamPosition::Position(Position { commit: at, prepare: at }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StreamPosition::Start),
        Err(error) => Err(error.into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(uri), Some(place)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        return Err("usage: alerts URI PLACE_FILE".into());
    };
    let client = Client::new(uri.parse()?)?;
    let filter = SubscriptionFilter::on_event_type().add_prefix("AlertScored");
    let options = SubscribeToAllOptions::default().position(kept(&place)?).filter(filter);
    let mut alerts = client.subscribe_to_all(&options).await;
    loop {
        let told = alerts.next_subscription_event().await?;
        if let SubscriptionEvent::Checkpoint(at) = told {
            keep(&place, at.commit)?;
        } else if let SubscriptionEvent::EventAppeared(told) = told {
            let event = told.get_original_event();
            let Alert { model_type, priority } = event.as_json()?;
            let user = event.stream_id().trim_start_matches("intent-");
            println!("{} {user} {model_type} {priority}", event.id);
            keep(&place, event.position.commit)?;
        }
    }
}
