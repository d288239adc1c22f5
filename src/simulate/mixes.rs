//! What people do in a session: how often which event, by intent and stage.
//!
//! Law: a look-alike in a stage behaves as one who means it; only how far they go tells them apart, and that not always.

use Kind::{
    AffordabilityCalculated, AgentContacted, AgentProfileViewed, ArticleRead, CallCompleted, EmailClicked,
    EmailOpened, HomeValueChecked, InvestmentCalculated, ListingDraftStarted, ListingSaved, ListingShared,
    ListingViewed, MessageSent, MortgageCalculated, MortgageReported, NeighborhoodViewed,
    OpenHouseRegistered, PreapprovalStarted, RateAlertSet, RefinanceCalculated, RentalYieldViewed,
    SaleComparablesViewed, SearchPerformed, SearchSaved, SellingCostCalculated, TourRequested,
    ValuationReportViewed,
};

use super::hidden::{Intent, Stage};
use super::kind::Kind;
use super::line::Focus;

/// Events with their weights.
pub(crate) type Mix = &'static [(Kind, f64)];

const IDLE: Mix = &[
    (ListingViewed, 5.0),
    (SearchPerformed, 2.5),
    (NeighborhoodViewed, 0.5),
    (HomeValueChecked, 0.6),
    (ListingSaved, 0.3),
    (MortgageCalculated, 0.15),
    (EmailOpened, 0.6),
    (EmailClicked, 0.15),
    (AgentProfileViewed, 0.1),
    (ArticleRead, 0.6),
    (AffordabilityCalculated, 0.1),
    (RentalYieldViewed, 0.15),
    (RefinanceCalculated, 0.04),
    (SaleComparablesViewed, 0.1),
    (TourRequested, 0.008),
    (InvestmentCalculated, 0.03),
    (ValuationReportViewed, 0.05),
];

const SELL: [Mix; 3] = [
    &[
        (HomeValueChecked, 4.0),
        (ValuationReportViewed, 0.6),
        (ArticleRead, 1.5),
        (ListingViewed, 2.0),
        (SaleComparablesViewed, 0.5),
        (EmailClicked, 0.3),
    ],
    &[
        (HomeValueChecked, 3.5),
        (ValuationReportViewed, 2.0),
        (SaleComparablesViewed, 3.0),
        (SellingCostCalculated, 0.3),
        (AgentProfileViewed, 0.4),
        (ArticleRead, 0.8),
        (ListingViewed, 1.5),
        (EmailClicked, 0.4),
    ],
    &[
        (HomeValueChecked, 2.0),
        (ValuationReportViewed, 1.5),
        (SaleComparablesViewed, 2.0),
        (SellingCostCalculated, 2.5),
        (AgentProfileViewed, 2.0),
        (ListingDraftStarted, 1.6),
        (AgentContacted, 2.0),
        (MessageSent, 2.0),
        (CallCompleted, 0.6),
    ],
];

const BUY: [Mix; 3] = [
    &[
        (ListingViewed, 6.0),
        (SearchPerformed, 3.0),
        (NeighborhoodViewed, 0.8),
        (ListingSaved, 0.5),
        (AffordabilityCalculated, 0.4),
        (ArticleRead, 0.5),
    ],
    &[
        (ListingViewed, 6.0),
        (SearchPerformed, 2.5),
        (ListingSaved, 1.4),
        (SearchSaved, 0.6),
        (ListingShared, 0.3),
        (MortgageCalculated, 0.6),
        (AffordabilityCalculated, 0.4),
        (NeighborhoodViewed, 1.0),
        (TourRequested, 0.03),
    ],
    &[
        (ListingViewed, 4.0),
        (SearchPerformed, 1.0),
        (ListingSaved, 1.2),
        (ListingShared, 1.0),
        (MortgageCalculated, 1.2),
        (TourRequested, 2.0),
        (OpenHouseRegistered, 1.0),
        (PreapprovalStarted, 1.3),
        (AgentContacted, 1.3),
        (MessageSent, 1.5),
        (NeighborhoodViewed, 0.6),
    ],
];

const REFINANCE: [Mix; 3] = [
    &[
        (RefinanceCalculated, 0.4),
        (ArticleRead, 2.0),
        (EmailOpened, 1.0),
        (HomeValueChecked, 0.8),
        (ListingViewed, 1.0),
    ],
    &[
        (RefinanceCalculated, 0.35),
        (RateAlertSet, 0.9),
        (MortgageReported, 0.5),
        (HomeValueChecked, 1.0),
        (MortgageCalculated, 0.1),
        (ArticleRead, 2.0),
        (EmailClicked, 0.2),
        (ListingViewed, 0.8),
    ],
    &[
        (RefinanceCalculated, 7.0),
        (MortgageCalculated, 4.0),
        (MortgageReported, 0.8),
        (PreapprovalStarted, 0.6),
        (EmailClicked, 0.2),
        (HomeValueChecked, 0.7),
    ],
];

const INVEST: [Mix; 3] = [
    &[
        (RentalYieldViewed, 2.0),
        (ListingViewed, 3.0),
        (SearchPerformed, 2.0),
        (ArticleRead, 1.0),
        (NeighborhoodViewed, 0.5),
    ],
    &[
        (RentalYieldViewed, 3.5),
        (InvestmentCalculated, 0.9),
        (ListingViewed, 3.0),
        (SearchPerformed, 2.0),
        (ListingSaved, 0.5),
        (NeighborhoodViewed, 0.8),
        (AgentProfileViewed, 0.3),
        (MortgageCalculated, 0.3),
    ],
    &[
        (RentalYieldViewed, 2.0),
        (InvestmentCalculated, 4.0),
        (ListingViewed, 2.0),
        (SearchPerformed, 1.0),
        (ListingSaved, 1.0),
        (MortgageCalculated, 2.0),
        (AgentProfileViewed, 2.5),
        (CallCompleted, 1.6),
        (AgentContacted, 1.0),
    ],
];

/// The mix of a session.
pub(crate) fn of(focus: Focus) -> Mix {
    let Some((intent, stage)) = focus else { return IDLE };
    let [curious, serious, ready] = match intent {
        Intent::Sell => SELL,
        Intent::Buy => BUY,
        Intent::Refinance => REFINANCE,
        Intent::Invest => INVEST,
    };
    match stage {
        Stage::Curious => curious,
        Stage::Serious => serious,
        Stage::Ready => ready,
    }
}
