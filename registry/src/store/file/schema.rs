//! The tables of the file, and the migration of older formats.

use redb::{Error, ReadableTable as _, TableDefinition, WriteTransaction};

use super::encoding;

/// Numbers about the file as a whole, by the keys below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The format of the file.
pub(super) const SCHEMA: &str = "schema";
/// The random number of the store, set once.
pub(super) const STORE: &str = "store";
/// How often the registry has started.
pub(super) const EPOCH: &str = "epoch";
/// The last number of an instance that may have been used.
pub(super) const LAST_INSTANCE: &str = "last instance";
/// The last revision that may have been used.
pub(super) const RESERVED: &str = "reserved";

/// The number of the last transaction; the mirror has the same. A file without one had no mirror.
pub(super) const SEQUENCE: &str = "sequence";

/// Records by the numbers of their instances.
pub(super) const INSTANCES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("instances");

/// When the leases of each instance last renewed. It is separate from the records, so that many
/// renewals after a restart change few pages.
pub(super) const RENEWED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("renewed");

/// The ends of runs, in milliseconds of lease time over all runs, by their epochs.
pub(super) const RUNS: TableDefinition<'_, u64, u64> = TableDefinition::new("runs");

/// In format 1, the epoch in which each instance last renewed.
const HEARD: TableDefinition<'_, u64, u64> = TableDefinition::new("heard");

/// Migrates one format to the next.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), Error>;

/// The first migrates format 1 to format 2, and so on. Released formats stay readable for ever: a
/// step is never changed, only followed by another.
pub(super) const MIGRATIONS: &[Migration] = &[time_of_silence];

/// From format 1, which counted runs without a renewal, to format 2, which adds up their time. How
/// long earlier runs lasted is unknown, so all leases begin with a whole TTL.
pub(super) fn time_of_silence(transaction: &WriteTransaction) -> Result<(), Error> {
    {
        let heard = transaction.open_table(HEARD)?;
        let mut renewed = transaction.open_table(RENEWED)?;
        for entry in heard.iter()? {
            let (id, epoch) = entry?;
            renewed.insert(id.value(), &*encoding::encode_renewed(epoch.value(), &[]))?;
        }
    }
    transaction.delete_table(HEARD)?;
    let epoch = get(transaction, EPOCH)?.unwrap_or(0);
    transaction.open_table(RUNS)?.insert(epoch, 0)?;
    Ok(())
}

/// The newest format that `migrations` produce.
pub(super) fn newest(migrations: &[Migration]) -> u64 {
    u64::try_from(migrations.len()).map_or(u64::MAX, |steps| 1 + steps)
}

/// Migrates a file of format `found` to the newest format in one transaction, so that it has the
/// old format or the new one, even after a crash.
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

/// Reads one of the numbers.
pub(super) fn get(transaction: &WriteTransaction, word: &str) -> Result<Option<u64>, Error> {
    let meta = transaction.open_table(META)?;
    let number = meta.get(word)?.map(|number| number.value());
    Ok(number)
}

/// Writes one of the numbers.
pub(super) fn set(transaction: &WriteTransaction, word: &str, number: u64) -> Result<(), Error> {
    transaction.open_table(META)?.insert(word, number)?;
    Ok(())
}
