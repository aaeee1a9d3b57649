//! The field `cascade_memory`: whether remembered texts help, and whose.

use csd_level::Tenant;
use serde_json::Value;

use super::fields::{Fields, named};
use crate::{Failure, error::Result, tenant};

/// The tenant that a text belongs to: its key's, a part of that by name, or none.
pub(super) fn parse(fields: &mut Fields, tenant: Option<Tenant>) -> Result<Option<Tenant>> {
    match fields.take("cascade_memory") {
        None | Some(Value::Bool(true)) => Ok(tenant),
        Some(Value::Bool(false)) => Ok(None),
        Some(Value::String(name)) => Ok(tenant.map(|tenant| tenant::part(tenant, &name))),
        Some(other) => Err(Failure::invalid(
            "cascade_memory",
            format!("must be true, false, or a name, got {}", named(&other)),
        )),
    }
}
