//! What is in the file, and how older forms of it become the present one.

use redb::{Error, ReadableTable as _, TableDefinition, WriteTransaction};

/// Numbers about the file as a whole, by the words below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The form of the file.
pub(super) const SCHEMA: &str = "schema";
/// The number of the store, which is made once.
pub(super) const STORE: &str = "store";
/// How often the registry has started.
pub(super) const EPOCH: &str = "epoch";
/// The highest number of an instance that was ever written: none is used again.
pub(super) const LAST_INSTANCE: &str = "last instance";
/// The last revision that may have been told.
pub(super) const RESERVED: &str = "reserved";

/// Records by the numbers of their instances.
pub(super) const INSTANCES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("instances");

/// The epoch in which each instance was heard from last. Apart from the records, so that many who are
/// heard from after a restart cost few pages.
pub(super) const HEARD: TableDefinition<'_, u64, u64> = TableDefinition::new("heard");

/// Turns one form into the next.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), Error>;

/// The first makes form 2 of form 1, and so on. Forms that were once written stay readable for ever:
/// a step is never changed, only followed by another.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// The newest form that `migrations` lead to.
pub(super) fn newest(migrations: &[Migration]) -> u64 {
    u64::try_from(migrations.len()).map_or(u64::MAX, |steps| 1 + steps)
}

/// Brings a file of form `found` to the newest form, within one transaction: it is in the old form or
/// in the new one, whatever happens.
pub(super) fn migrate(
    transaction: &WriteTransaction,
    found: u64,
    migrations: &[Migration],
) -> Result<(), Error> {
    let done = usize::try_from(found.saturating_sub(1)).unwrap_or(usize::MAX);
    for migration in migrations.iter().skip(done) {
        migration(transaction)?;
    }
    set(transaction, SCHEMA, newest(migrations))
}

/// One of the numbers.
pub(super) fn get(transaction: &WriteTransaction, word: &str) -> Result<Option<u64>, Error> {
    let meta = transaction.open_table(META)?;
    let number = meta.get(word)?.map(|number| number.value());
    Ok(number)
}

/// Changes one of the numbers.
pub(super) fn set(transaction: &WriteTransaction, word: &str, number: u64) -> Result<(), Error> {
    transaction.open_table(META)?.insert(word, number)?;
    Ok(())
}
