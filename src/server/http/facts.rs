//! Takes in the facts that a generated iPXE script reports about its machine, by a GET with a query. Nothing that is
//! served depends on them.

use crate::boot::loader::target::FACTS;
use crate::content::machines::Standing;
use crate::content::requester::Requester;
use crate::event::HttpRefusal;
use crate::http::{Method, Request, facts, target};
use crate::types::Hardware;

/// The facts in `request`, or the reason why they are refused; `None` if it requests something else.
///
/// S-01: a machine reports about itself alone. The lease or the neighbour table must have the stated MAC for the
/// client's address. A message that merely claims the address does not suffice.
pub(super) fn report(request: &Request<'_>, requester: &Requester) -> Option<Result<Hardware, HttpRefusal>> {
    let name = target::name(request.target).ok()?;
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    if !parts.eq(FACTS.split('/').map(str::as_bytes)) {
        return None;
    }
    Some(checked(request, requester))
}

fn checked(request: &Request<'_>, requester: &Requester) -> Result<Hardware, HttpRefusal> {
    if request.is_of_browser() {
        return Err(HttpRefusal::Browser);
    }
    if request.method != Method::Get {
        return Err(HttpRefusal::Method);
    }
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let (mac, hardware) = facts::parse(query).map_err(|facts::BadFacts| HttpRefusal::BadFacts)?;
    let is_known = matches!(requester.standing, Standing::Certain | Standing::Neighbour);
    if is_known && requester.machine.mac == Some(mac) { Ok(hardware) } else { Err(HttpRefusal::FactsOfOther) }
}
