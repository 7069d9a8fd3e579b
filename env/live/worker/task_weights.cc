#include <cmath>
#include <numeric>

#include "env/live/worker/phase_state.h"
#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using strategies::Tag;
using strategies::Tags;

Tags Run(Tag first, std::int64_t count) {
  Tags tags(static_cast<std::size_t>(count));
  std::iota(tags.begin(), tags.end(), first);
  return tags;
}

/// The columns of these heads, `size` each.
Tags ColumnsOf(const Tags& heads, std::int64_t size) {
  Tags columns;
  for (const Tag head : heads) {
    for (Tag i = 0; i < size; ++i) columns.push_back(head * size + i);
  }
  return columns;
}

/// The heads in `columns`, `size` columns each.
Tags HeadsIn(const Tags& columns, std::int64_t size) {
  Tags heads;
  for (std::size_t i = 0; i < columns.size(); i += static_cast<std::size_t>(size)) heads.push_back(columns[i] / size);
  return heads;
}

const Matrix* PlainMatrix(const LayerWeights& layer, const Task& task) {
  const bool shared = task.ffn == FfnKind::kShared;
  switch (task.weight) {
    case WeightKind::kQkv:
      return &layer.qkv;
    case WeightKind::kQuery:
      return &layer.query;
    case WeightKind::kQueryDown:
      return &layer.query_down;
    case WeightKind::kQueryUp:
      return &layer.query_up;
    case WeightKind::kLatentDown:
      return &layer.latent_down;
    case WeightKind::kIndexQuery:
      return &layer.index_query;
    case WeightKind::kIndexKey:
      return &layer.index_key;
    case WeightKind::kAttnOut:
      return &layer.attn_out;
    case WeightKind::kRouter:
      return &layer.router;
    case WeightKind::kFfnUp:
      return shared ? &layer.shared_up : &layer.ffn_up;
    case WeightKind::kFfnDown:
      return shared ? &layer.shared_down : &layer.ffn_down;
    default:
      SHARDSCOUT_CHECK(false && "a product with a weight that is not a plain matrix");
  }
  return nullptr;
}

}  // namespace

at::Tensor RankProgram::Part(const Matrix* whole, const Tags& in, const Tags& out) {
  const auto rows = static_cast<std::int64_t>(in.size()), columns = static_cast<std::int64_t>(out.size());
  if (whole == nullptr) {
    return (at::rand({rows, columns}, options_) - 0.5) * (2 / std::sqrt(static_cast<double>(rows)));
  }
  at::Tensor part = at::empty({rows, columns}, at::kFloat);
  auto to = part.accessor<float, 2>();
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      to[i][j] = static_cast<float>((*whole)(in[static_cast<std::size_t>(i)], out[static_cast<std::size_t>(j)]));
    }
  }
  return part.to(options_);
}

at::Tensor RankProgram::Scale(const RowVector* whole, const Tags& columns) {
  const auto size = static_cast<std::int64_t>(columns.size());
  if (whole == nullptr) return at::ones({size}, options_);
  at::Tensor part = at::empty({size}, at::kFloat);
  auto to = part.accessor<float, 1>();
  for (std::int64_t i = 0; i < size; ++i) to[i] = static_cast<float>((*whole)(columns[static_cast<std::size_t>(i)]));
  return part.to(options_);
}

TaskWeights RankProgram::WeightsOf(PhaseState& state, const Block& block, const Task& task, const LayerWeights* layer) {
  const AttentionSpec& a = model_.attention;
  const auto columns_of = [&](ValueId id) -> const Tags& {
    return *state.layouts->LocalColumns(block.values[static_cast<std::size_t>(id)], stage_rank_);
  };
  const auto of = [&](auto member) { return layer == nullptr ? nullptr : &(layer->*member); };
  const ModelWeights* model = reference_ == nullptr ? nullptr : &reference_->weights();
  TaskWeights weights;
  switch (task.kind) {
    case TaskKind::kEmbed: {
      std::int64_t rows = model_.vocab_size;
      if (task.weight_split == WeightSplit::kRow) {
        rows /= strategy_.tensor_parallel_size;
        weights.first_row = stage_rank_ % strategy_.tensor_parallel_size * rows;
      }
      weights.matrix =
          Part(model == nullptr ? nullptr : &model->embedding, Run(weights.first_row, rows), columns_of(task.output));
      break;
    }
    case TaskKind::kNorm: {
      const TensorKind kind = block.values[static_cast<std::size_t>(task.input)].kind;
      const RowVector* scale = nullptr;
      if (kind == TensorKind::kQueryLatent) {
        scale = of(&LayerWeights::query_latent_norm);
      } else if (task.op == Operator::kLmHead) {
        scale = model == nullptr ? nullptr : &model->final_norm;
      } else {
        scale = of(task.op == Operator::kQkv ? &LayerWeights::input_norm : &LayerWeights::post_norm);
      }
      weights.scale = Scale(scale, columns_of(task.input));
      break;
    }
    case TaskKind::kMatmul: {
      const Matrix* whole = layer == nullptr ? nullptr : PlainMatrix(*layer, task);
      if (task.weight == WeightKind::kLmHead) whole = model == nullptr ? nullptr : &model->lm_head;
      weights.matrix = Part(whole, columns_of(task.input), columns_of(task.output));
      break;
    }
    case TaskKind::kRotary: {
      if (a.kind == AttentionKind::kMultiLatent) {
        const bool indexer = block.values[static_cast<std::size_t>(task.input)].kind == TensorKind::kIndexQuery;
        weights.scale = indexer ? Scale(of(&LayerWeights::index_key_norm), Run(0, a.index_head_dim))
                                : Scale(of(&LayerWeights::latent_norm), Run(0, a.kv_lora_rank));
        break;
      }
      const Tags& columns = columns_of(task.output);
      const Tag queries = a.num_heads * a.head_dim, normed = queries + a.num_kv_heads * a.head_dim;
      if (a.qkv_bias) weights.bias = Scale(of(&LayerWeights::qkv_bias), columns);
      if (a.whole_qk_norm) {
        Tags query, key;
        for (const Tag column : columns) {
          if (column < queries) query.push_back(column);
          if (column >= queries && column < normed) key.push_back(column - queries);
        }
        weights.scale = Scale(of(&LayerWeights::whole_query_norm), query);
        weights.key_scale = Scale(of(&LayerWeights::whole_key_norm), key);
      } else if (a.qk_norm) {
        weights.scale = Scale(of(&LayerWeights::query_head_norm), Run(0, a.head_dim));
        weights.key_scale = Scale(of(&LayerWeights::key_head_norm), Run(0, a.head_dim));
      }
      break;
    }
    case TaskKind::kUpProject:
    case TaskKind::kAbsorbKey: {
      const Tags heads = HeadsIn(columns_of(task.input), a.QkHeadDim());
      const auto count = static_cast<std::int64_t>(heads.size());
      weights.matrix = Part(of(&LayerWeights::key_up), Run(0, a.kv_lora_rank), ColumnsOf(heads, a.qk_nope_head_dim));
      if (task.kind == TaskKind::kAbsorbKey) {  // [heads, nope, latent]
        weights.matrix =
            weights.matrix.view({a.kv_lora_rank, count, a.qk_nope_head_dim}).permute({1, 2, 0}).contiguous();
      } else {
        weights.second = Part(of(&LayerWeights::value_up), Run(0, a.kv_lora_rank), ColumnsOf(heads, a.v_head_dim));
      }
      break;
    }
    case TaskKind::kValueProject: {  // [heads, latent, v]
      const Tags heads = HeadsIn(columns_of(task.input), a.kv_lora_rank);
      const auto count = static_cast<std::int64_t>(heads.size());
      weights.matrix = Part(of(&LayerWeights::value_up), Run(0, a.kv_lora_rank), ColumnsOf(heads, a.v_head_dim))
                           .view({a.kv_lora_rank, count, a.v_head_dim})
                           .permute({1, 0, 2})
                           .contiguous();
      break;
    }
    case TaskKind::kExpertMatmul: {
      const bool down = block.values[static_cast<std::size_t>(task.output)].kind == TensorKind::kHidden;
      const std::int64_t first = state.layouts->FirstExpert(stage_rank_);
      for (std::int64_t e = first; e < first + state.layouts->NumLocalExperts(); ++e) {
        const auto* experts = of(down ? &LayerWeights::expert_down : &LayerWeights::expert_up);
        weights.experts.push_back(Part(experts == nullptr ? nullptr : &(*experts)[static_cast<std::size_t>(e)],
                                       columns_of(task.input), columns_of(task.output)));
      }
      break;
    }
    case TaskKind::kRoute:
      if (!model_.moe.router_correction_bias) break;
      weights.bias = Scale(of(&LayerWeights::router_correction), Run(0, model_.moe.num_experts)).to(at::kFloat);
      break;
    default:
      break;
  }
  return weights;
}

}  // namespace shardscout::live
