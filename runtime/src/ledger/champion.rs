//! Who holds a slot, and who held it before: the chain of promotions.
//!
//! There is no file that names the champion. Each promotion names the one before it in its slot, so the
//! champion is the end of the chain, and a promotion that another one overtook is seen.

use proofmark_packager::Digest;
use serde::Serialize;

use super::entry::{Answer, ChallengeLine, LedgerEntry, LedgerLine, PromotionLine};
use super::slot::Slot;
use super::{Filter, Ledger, LedgerError, LedgerKind};
use crate::measure::decision::Decision;

/// A promotion and its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Champion {
    /// The promotion, by the SHA-256 of its line.
    pub id: Digest,
    /// What it says.
    #[serde(flatten)]
    pub promotion: PromotionLine,
    /// Whether it was written here, or brought by somebody.
    pub origin: String,
}

/// The path of champions in one slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lineage {
    /// Of what.
    pub slot: Slot,
    /// From the first to the one that holds it.
    pub path: Vec<Champion>,
    /// Promotions that lead nowhere: another one followed the same champion, the one before is missing, or
    /// somebody brought it.
    pub aside: Vec<Champion>,
}

impl Lineage {
    /// Who holds the slot.
    pub fn champion(&self) -> Option<&Champion> {
        self.path.last()
    }
}

/// The lineages that a filter leaves, by slot.
pub fn lineages(ledger: &Ledger, filter: &Filter) -> Result<Vec<Lineage>, LedgerError> {
    let filter =
        Filter { kind: Some(LedgerKind::Promotion), oldest_first: true, limit: None, ..filter.clone() };
    let mut all: Vec<Champion> = Vec::new();
    for row in ledger.rows(&filter)? {
        let (_, entry) = ledger.entry(row.id)?;
        if let LedgerEntry::Own(line) = entry
            && let LedgerLine::Promotion(promotion) = *line
        {
            all.push(Champion { id: row.id, promotion, origin: row.origin });
        }
    }
    let mut slots: Vec<Slot> = all.iter().map(|one| one.promotion.slot.clone()).collect();
    slots.sort();
    slots.dedup();
    let of = |slot: Slot| {
        let (own, rest) = all.drain(..).partition(|one: &Champion| one.promotion.slot == slot);
        all = rest;
        chain(slot, own)
    };
    Ok(slots.into_iter().map(of).collect())
}

/// The lineage of one slot; empty where nothing was promoted.
pub fn lineage(ledger: &Ledger, slot: &Slot) -> Result<Lineage, LedgerError> {
    let filter = Filter {
        definition: Some(slot.definition.clone()),
        arch: Some(slot.arch.to_string()),
        device: Some(slot.device.clone()),
        literal: true,
        ..Filter::default()
    };
    let found = lineages(ledger, &filter)?.into_iter().find(|one| one.slot == *slot);
    Ok(found.unwrap_or_else(|| Lineage { slot: slot.clone(), path: Vec::new(), aside: Vec::new() }))
}

/// Makes an artifact champion, if the champion is still the one that it was held against: `beaten` is that
/// one's promotion. Gives the new promotion's name.
pub fn promote(
    ledger: &mut Ledger,
    beaten: Option<Digest>,
    promotion: PromotionLine,
) -> Result<Digest, LedgerError> {
    let _lock = ledger.lock()?;
    let found = lineage(ledger, &promotion.slot)?;
    let now = found.champion().map(|champion| champion.id);
    if now != beaten {
        let name = |id: Option<Digest>| id.map_or_else(|| "nobody".to_owned(), |id| id.short());
        let slot = promotion.slot.to_string();
        return Err(LedgerError::ChampionMoved { slot, found: name(now), expected: name(beaten) });
    }
    ledger.append_own(&LedgerLine::Promotion(PromotionLine { previous: beaten, ..promotion }))
}

/// What becomes of a candidate that was compared with the champion: only a faster one is kept.
pub fn answer_to(decision: &Decision) -> Answer {
    match decision {
        Decision::Better => Answer::Keep,
        Decision::Worse | Decision::Equal => Answer::Reject,
        Decision::Undecided { .. } => Answer::Undecided,
    }
}

/// What becomes of a candidate where there is no champion: it is kept if it passes every workload.
pub fn answer_to_first(passed: usize, expected: usize) -> Answer {
    if expected > 0 && passed == expected { Answer::Keep } else { Answer::Reject }
}

/// The last time that a candidate was held against this champion, or against nobody.
pub fn tried(
    ledger: &Ledger,
    slot: &Slot,
    candidate: Digest,
    champion: Option<Digest>,
) -> Result<Option<ChallengeLine>, LedgerError> {
    let filter = Filter {
        kind: Some(LedgerKind::Challenge),
        artifact: Some(candidate.to_string()),
        origin: Some("measured".to_owned()),
        ..Filter::default()
    };
    for row in ledger.rows(&filter)? {
        if let (_, LedgerEntry::Own(line)) = ledger.entry(row.id)?
            && let LedgerLine::Challenge(line) = *line
            && line.slot == *slot
            && line.champion == champion
        {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// Follows promotions from the first on, oldest first where several follow the same. One that somebody
/// brought is a claim: it stands aside.
fn chain(slot: Slot, mut rest: Vec<Champion>) -> Lineage {
    let mut path: Vec<Champion> = Vec::new();
    loop {
        let last = path.last().map(|one| one.id);
        let follows = |one: &Champion| one.origin == "measured" && one.promotion.previous == last;
        let next = rest.iter().position(follows);
        match next {
            Some(at) => path.push(rest.remove(at)),
            None => return Lineage { slot, path, aside: rest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::decision::Reason;

    #[test]
    fn only_a_faster_candidate_is_kept_and_doubt_rejects_nobody() {
        assert_eq!(answer_to(&Decision::Better), Answer::Keep);
        assert_eq!(answer_to(&Decision::Worse), Answer::Reject);
        assert_eq!(answer_to(&Decision::Equal), Answer::Reject);
        let reason = Reason::NotPrecise { half_width: None };
        assert_eq!(answer_to(&Decision::Undecided { reason }), Answer::Undecided);
    }

    #[test]
    fn the_first_is_kept_if_it_passes_every_workload_and_there_is_one() {
        assert_eq!(answer_to_first(3, 3), Answer::Keep);
        assert_eq!(answer_to_first(2, 3), Answer::Reject);
        assert_eq!(answer_to_first(0, 0), Answer::Reject);
    }
}
