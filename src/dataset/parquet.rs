//! A training set as one Parquet file (zstd) and a `manifest.json` beside it, in the columns that `models/train` reads.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::{Dataset, Error, Example, Manifest, Split};

/// Rows in a row group: a few megabytes each.
const ROW_GROUP: usize = 65_536;
/// The place of the first feature.
const FEATURES_FROM: usize = 11;

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
        // What training reads, then what else is known of a row, then the features.
        "REQUIRED BYTE_ARRAY user (UTF8)".to_owned(),
        "REQUIRED BYTE_ARRAY model (UTF8)".to_owned(),
        "REQUIRED INT64 as_of".to_owned(),
        "REQUIRED INT64 revision".to_owned(),
        "REQUIRED INT32 label (INT_8)".to_owned(),
        "REQUIRED FLOAT weight".to_owned(),
        "REQUIRED BYTE_ARRAY split (UTF8)".to_owned(),
        "REQUIRED BYTE_ARRAY event_id (UTF8)".to_owned(),
        "REQUIRED BOOLEAN immature".to_owned(),
        "REQUIRED BYTE_ARRAY model_version (UTF8)".to_owned(),
        "REQUIRED BYTE_ARRAY catalog_version (UTF8)".to_owned(),
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
            write_column(&mut column, place, rows, &dataset.manifest)?;
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
    manifest: &Manifest,
) -> Result<(), ParquetError> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    match place {
        0 => texts(column, rows, |_, row| row.user.to_string()),
        1 => texts(column, rows, |_, _| manifest.model.clone()),
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
        5 => {
            let values: Vec<f32> = rows.iter().map(|(_, row)| row.weight).collect();
            column.typed::<FloatType>().write_batch(&values, None, None)
        }
        6 => texts(column, rows, |split, _| split.name().to_owned()),
        7 => texts(column, rows, |_, row| row.event_id.to_string()),
        8 => {
            let values: Vec<bool> = rows.iter().map(|(_, row)| row.is_immature).collect();
            column.typed::<BoolType>().write_batch(&values, None, None)
        }
        // Empty where the score was not recorded.
        9 => texts(column, rows, |_, row| row.model_version.as_deref().unwrap_or_default().to_owned()),
        10 => texts(column, rows, |_, _| manifest.catalog_version.clone()),
        _ => {
            let at = place - FEATURES_FROM;
            let value = |(_, row): &(Split, Example)| row.features.get(at).copied().unwrap_or(f32::NAN);
            column.typed::<FloatType>().write_batch(&rows.iter().map(value).collect::<Vec<_>>(), None, None)
        }
    }
    .map(|_| ())
}

fn texts(
    column: &mut SerializedColumnWriter<'_>,
    rows: &[(Split, Example)],
    text: impl Fn(Split, &Example) -> String,
) -> Result<usize, ParquetError> {
    let values: Vec<ByteArray> =
        rows.iter().map(|(split, row)| ByteArray::from(text(*split, row).into_bytes())).collect();
    column.typed::<ByteArrayType>().write_batch(&values, None, None)
}
