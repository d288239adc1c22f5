//! The events of the shipped catalogue that simulated people and markets cause.

/// Names every kind once.
macro_rules! kinds {
    ($($kind:ident = $name:literal),* $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $(#[doc = $name] $kind),*
        }

        impl Kind {
            /// The event type, as the catalogue writes it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name),*
                }
            }
        }
    };
}

kinds! {
    SessionStarted = "SESSION_STARTED",
    EmailOpened = "EMAIL_OPENED",
    EmailClicked = "EMAIL_CLICKED",
    ArticleRead = "ARTICLE_READ",
    SearchPerformed = "SEARCH_PERFORMED",
    SearchSaved = "SEARCH_SAVED",
    NeighborhoodViewed = "NEIGHBORHOOD_VIEWED",
    ListingViewed = "LISTING_VIEWED",
    ListingSaved = "LISTING_SAVED",
    ListingShared = "LISTING_SHARED",
    TourRequested = "TOUR_REQUESTED",
    OpenHouseRegistered = "OPEN_HOUSE_REGISTERED",
    HomeValueChecked = "HOME_VALUE_CHECKED",
    ValuationReportViewed = "VALUATION_REPORT_VIEWED",
    SaleComparablesViewed = "SALE_COMPARABLES_VIEWED",
    SellingCostCalculated = "SELLING_COST_CALCULATED",
    ListingDraftStarted = "LISTING_DRAFT_STARTED",
    MortgageCalculated = "MORTGAGE_CALCULATED",
    AffordabilityCalculated = "AFFORDABILITY_CALCULATED",
    RefinanceCalculated = "REFINANCE_CALCULATED",
    RateAlertSet = "RATE_ALERT_SET",
    PreapprovalStarted = "PREAPPROVAL_STARTED",
    AgentProfileViewed = "AGENT_PROFILE_VIEWED",
    AgentContacted = "AGENT_CONTACTED",
    MessageSent = "MESSAGE_SENT",
    CallCompleted = "CALL_COMPLETED",
    HomeClaimed = "HOME_CLAIMED",
    MortgageReported = "MORTGAGE_REPORTED",
    RentalYieldViewed = "RENTAL_YIELD_VIEWED",
    InvestmentCalculated = "INVESTMENT_CALCULATED",
    MortgageRatePublished = "MORTGAGE_RATE_PUBLISHED",
    HomePriceIndexPublished = "HOME_PRICE_INDEX_PUBLISHED",
    RentIndexPublished = "RENT_INDEX_PUBLISHED",
    Conversion = "ConversionRecorded",
}
