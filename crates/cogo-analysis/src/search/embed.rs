//! Embeddings by a model of the BERT family, computed on the processor.

use std::fmt::Display;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert;
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

use super::{Embedder, ModelFiles, SearchError};

/// Tokens of a text that are read. The names and the first lines of a symbol say most; twice as
/// many would take twice the time.
const TOKENS_MAX: usize = 128;
/// Counted up when texts are prepared in another way.
const PREPARATION: u8 = 1;

/// A model in memory.
pub struct BertModel {
    name: String,
    dimensions: usize,
    tokenizer: Tokenizer,
    model: bert::BertModel,
}

impl std::fmt::Debug for BertModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("BertModel");
        shown.field("name", &self.name).finish_non_exhaustive()
    }
}

impl BertModel {
    /// Loads a model.
    ///
    /// # Errors
    ///
    /// [`SearchError::Model`] if the files are not those of a BERT model.
    pub fn load(files: &ModelFiles) -> Result<Self, SearchError> {
        let read = |path| std::fs::read(path).map_err(failed);
        let config: bert::Config = serde_json::from_slice(&read(&files.config)?).map_err(failed)?;
        let weights = read(&files.weights)?;
        let name = format!("bert-{:08x}-{PREPARATION}", crc32fast::hash(&weights));
        let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu);
        let model = bert::BertModel::load(builder.map_err(failed)?, &config).map_err(failed)?;
        let mut tokenizer = Tokenizer::from_file(&files.tokenizer).map_err(failed)?;
        tokenizer.with_padding(Some(PaddingParams::default()));
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: TOKENS_MAX.min(config.max_position_embeddings),
                ..TruncationParams::default()
            }))
            .map_err(failed)?;
        Ok(Self {
            name,
            dimensions: config.hidden_size,
            tokenizer,
            model,
        })
    }

    fn forward(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, candle_core::Error> {
        let wrap = |error: tokenizers::Error| candle_core::Error::Msg(error.to_string());
        let encoded = self
            .tokenizer
            .encode_batch(texts.to_vec(), true)
            .map_err(wrap)?;
        let ids: Vec<&[u32]> = encoded.iter().map(tokenizers::Encoding::get_ids).collect();
        let masks: Vec<&[u32]> = encoded
            .iter()
            .map(tokenizers::Encoding::get_attention_mask)
            .collect();
        let stacked = |rows: &[&[u32]]| {
            let width = rows.first().map_or(0, |row| row.len());
            Tensor::from_vec(rows.concat(), (rows.len(), width), &Device::Cpu)
        };
        let (ids, mask) = (stacked(&ids)?, stacked(&masks)?);
        let output = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        // The mean over the tokens that are there, then norm 1: what these models are trained for.
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let mean = output
            .broadcast_mul(&mask)?
            .sum(1)?
            .broadcast_div(&mask.sum(1)?)?;
        let norm = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
        mean.broadcast_div(&norm)?.to_vec2()
    }
}

impl Embedder for BertModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, SearchError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        self.forward(texts).map_err(failed)
    }
}

fn failed(error: impl Display) -> SearchError {
    SearchError::Model(error.to_string())
}
