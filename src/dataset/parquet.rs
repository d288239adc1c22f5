//! A training set as one Parquet file (zstd) and a `manifest.json` beside it, in the columns that `models/train` reads.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::{Dataset, Error, Example, Split};

/// Rows in a row group: a few megabytes each.
const ROW_GROUP: usize = 65_536;

/// Writes `rows.parquet` and `manifest.json` into a folder, which is made when it is missing.
///
/// # Errors
/// [`Error::Write`] with the file that could not be written.
pub fn write(dataset: &Dataset, folder: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source: io::Error| Error::Write { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let table = folder.join("rows.parquet");
    write_table(dataset, &table).map_err(io::Error::other).map_err(failed(&table))?;
    let manifest = folder.join("manifest.json");
    let text = serde_json::to_vec_pretty(&dataset.manifest).map_err(io::Error::other);
    text.and_then(|text| fs::write(&manifest, text)).map_err(failed(&manifest))
}

fn write_table(dataset: &Dataset, path: &Path) -> Result<(), ParquetError> {
    let mut columns = vec![
        "REQUIRED BYTE_ARRAY user (UTF8)".to_owned(),
        "REQUIRED BYTE_ARRAY model (UTF8)".to_owned(),
        "REQUIRED INT64 as_of".to_owned(),
        "REQUIRED INT64 revision".to_owned(),
        "REQUIRED INT32 label (INT_8)".to_owned(),
        "REQUIRED FLOAT weight".to_owned(),
        "REQUIRED BYTE_ARRAY split (UTF8)".to_owned(),
        "REQUIRED BYTE_ARRAY event_id (UTF8)".to_owned(),
    ];
    columns.extend(dataset.manifest.features.iter().map(|name| format!("REQUIRED FLOAT {name}")));
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {}; }}", columns.join("; ")))?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by("intentd".to_owned())
        .build();
    let mut writer = SerializedFileWriter::new(File::create(path)?, schema, Arc::new(properties))?;
    for rows in dataset.rows.chunks(ROW_GROUP) {
        let mut group = writer.next_row_group()?;
        let mut place = 0;
        while let Some(mut column) = group.next_column()? {
            write_column(&mut column, place, rows, &dataset.manifest.model)?;
            column.close()?;
            place += 1;
        }
        group.close()?;
    }
    writer.close().map(|_| ())
}

fn write_column(
    column: &mut SerializedColumnWriter<'_>,
    place: usize,
    rows: &[(Split, Example)],
    model: &str,
) -> Result<(), ParquetError> {
    let texts = |text: &dyn Fn(&(Split, Example)) -> String| -> Vec<ByteArray> {
        rows.iter().map(|row| ByteArray::from(text(row).into_bytes())).collect()
    };
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match place {
        0 => {
            column.typed::<ByteArrayType>().write_batch(&texts(&|(_, row)| row.user.to_string()), None, None)
        }
        1 => column.typed::<ByteArrayType>().write_batch(&texts(&|_| model.to_owned()), None, None),
        2 => {
            let values: Vec<i64> = rows.iter().map(|(_, row)| row.as_of.millis()).collect();
            column.typed::<Int64Type>().write_batch(&values, None, None)
        }
        3 => {
            let values: Vec<i64> = rows.iter().map(|(_, row)| whole(row.revision)).collect();
            column.typed::<Int64Type>().write_batch(&values, None, None)
        }
        4 => {
            let values: Vec<i32> = rows.iter().map(|(_, row)| i32::from(row.is_positive)).collect();
            column.typed::<Int32Type>().write_batch(&values, None, None)
        }
        5 => column.typed::<FloatType>().write_batch(&vec![1.0; rows.len()], None, None),
        6 => column.typed::<ByteArrayType>().write_batch(
            &texts(&|(split, _)| split.name().to_owned()),
            None,
            None,
        ),
        7 => column.typed::<ByteArrayType>().write_batch(
            &texts(&|(_, row)| row.event_id.to_string()),
            None,
            None,
        ),
        _ => {
            let at = place - 8;
            let value = |(_, row): &(Split, Example)| row.features.get(at).copied().unwrap_or(f32::NAN);
            column.typed::<FloatType>().write_batch(&rows.iter().map(value).collect::<Vec<_>>(), None, None)
        }
    }
    .map(|_| ())
}
