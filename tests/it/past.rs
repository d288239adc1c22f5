//! Real actors on paused time: a user as it stood.

use intentd::commands::Commands as _;
use intentd::domain::alert::Status;
use intentd::domain::entity::Description;

use crate::support::rules::{Town, hour};
use crate::support::world::user;

/// The probability of the newest score, to the bit.
fn said(description: &Description) -> u32 {
    description.scores[0].scoring.as_ref().unwrap().probability.to_bits()
}

#[tokio::test(start_paused = true)]
async fn a_user_is_described_as_the_log_had_it_then() {
    let town = Town::new(Some(0.6));
    let daemon = town.world.start().await;
    for (id, at) in [(0, 0), (1, 24), (2, 26)] {
        town.event(&user(0), "VIEWED", id, at);
        town.settle(&daemon).await;
    }
    *town.says.0.lock().unwrap() = Some(0.8);
    town.event(&user(0), "VIEWED", 3, 46);
    // Told later, of an hour before.
    town.event(&user(0), "VIEWED", 4, 1);
    town.settle(&daemon).await;

    let then = async |at| daemon.describe(user(0), Some(hour(at))).await.unwrap().unwrap();
    let before = then(-1).await;
    assert_eq!((before.revision, before.features[0], before.alerts.len()), (None, 0.0, 0));
    assert!(before.scores.is_empty() && before.signals.is_empty());

    let first = then(25).await;
    assert_eq!((first.revision, first.features[0], first.as_of), (Some(1), 2.0, hour(25)));
    assert_eq!(first.alerts[0].2, Status::Pending);
    assert_eq!(said(&first), 0.6_f32.to_bits());
    assert_eq!(first.signals.len(), 1);

    // The signal of hour 26 is live for three days; the score that came with hour 46 came later.
    let second = then(45).await;
    assert_eq!((second.revision, second.features[0]), (Some(2), 3.0));
    assert_eq!(said(&second), 0.6_f32.to_bits());

    let now = town.describe(&daemon, &user(0)).await;
    let last = then(46).await;
    assert_eq!((last.revision, last.features[0]), (Some(4), 5.0));
    assert_eq!((&now.features, &now.scores, &now.alerts), (&last.features, &last.scores, &last.alerts));
    assert_eq!(said(&last), 0.8_f32.to_bits());

    assert!(daemon.describe(user(1), Some(hour(48))).await.unwrap().is_none(), "nobody knows this user");
}
