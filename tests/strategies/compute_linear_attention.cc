#include <algorithm>
#include <cmath>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {

LinearParts BlockRunner::LinearPartsOf(const CachePlan& plan, std::int64_t rank) {
  const LinearAttentionSpec& linear = model_.linear_attention;
  Value value;
  value.features = plan.heads_over_tp ? FeatureSplit::kTensor : FeatureSplit::kNone;
  value.kind = TensorKind::kLinearAttended;
  LinearParts parts;
  parts.heads = HeadsOf(*layouts_.LocalColumns(value, rank), linear.value_head_dim);
  value.kind = TensorKind::kLinearQkv;
  parts.channels = *layouts_.LocalColumns(value, rank);
  std::erase_if(parts.channels, [&](Tag column) { return column >= linear.ConvChannels(); });
  return parts;
}

/// The recurrence from the state at hand, position after position. Padding gives zeros and leaves the state alone.
Local BlockRunner::LinearAttention(const Task& task, std::int64_t rank) {
  const auto index = static_cast<std::size_t>(rank);
  const LinearAttentionSpec& linear = model_.linear_attention;
  const std::int64_t dk = linear.key_head_dim, dv = linear.value_head_dim;
  const Tag keys = linear.num_key_heads * dk, channels = linear.ConvChannels();
  const Local& in = *HeldOf(task.input).at[index];
  if (task.input2 == kNoValue) Fail("linear attention without its gates");
  const Local& gates = *HeldOf(task.input2).at[index];
  if (ValueOf(task.input).kind != TensorKind::kLinearQkv || ValueOf(task.input2).kind != TensorKind::kLinearGates) {
    Fail("the inputs are not linear attention's");
  }
  if (*in.rows != *gates.rows) Fail("the rows of the projections and gates differ");
  if (task.cache.positions_over_tp || strategy_.context_parallel_size > 1) Fail("the state's positions are split");
  const LinearParts parts = LinearPartsOf(task.cache, rank);
  const auto num_channels = static_cast<Eigen::Index>(parts.channels.size());
  if (!std::equal(parts.channels.begin(), parts.channels.end(), in.columns->begin())) {
    Fail("the rank's channels are not those of its state");
  }
  const auto find = [&](const Tags& columns, Tag first, std::int64_t size) {
    const Eigen::Index found = FindColumns(columns, first, size);
    if (found < 0) Fail("a part of a value head, of its key head or of its gates is missing");
    return found;
  };

  const Matrix conv = layer_->linear_conv(parts.channels, Eigen::all);
  const bool prefill = pass_.phase == Phase::kPrefill;
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(layouts_.At(rank).d)];
  Local out{in.rows, layouts_.LocalColumns(ValueOf(task.output), rank), {}, {}};
  out.data = Matrix::Zero(in.data.rows(), static_cast<Eigen::Index>(out.columns->size()));
  for (Eigen::Index row = 0; row < in.data.rows(); ++row) {
    const Tag tag = (*in.rows)[static_cast<std::size_t>(row)];
    const std::int64_t request = RequestOf(tag), position = PositionOf(tag);
    if (prefill && position >= pass_.input_tokens) continue;
    const auto j = std::find(requests.begin(), requests.end(), request) - requests.begin();
    if (j == std::ssize(requests) || !layouts_.OwnsRequest(task.cache, rank, j)) {
      Fail("a token of a request whose state another rank keeps");
    }
    LinearState& state = (*linear_states_)[index][request];
    if (state.positions == 0) {
      state.parts = parts;
      state.inputs = Matrix::Zero(linear.conv_width - 1, num_channels);
      state.heads.assign(parts.heads.size(), Matrix::Zero(dk, dv));
    }
    if (state.parts != parts) Fail("the state holds other heads than the plan says");
    if (state.positions != position) {
      Fail("position " + std::to_string(position) + " does not follow the state's " + std::to_string(state.positions));
    }
    ++state.positions;
    Matrix window(linear.conv_width, num_channels);
    window << state.inputs, in.data.row(row).head(num_channels);
    state.inputs = window.bottomRows(linear.conv_width - 1);
    const RowVector mixed = ConvolveChannels(window, conv);
    for (std::size_t i = 0; i < parts.heads.size(); ++i) {
      const Tag head = parts.heads[i];
      const Tag key_head = head * linear.num_key_heads / linear.num_value_heads;
      const RowVector q = mixed.segment(find(parts.channels, key_head * dk, dk), dk);
      const RowVector k = mixed.segment(find(parts.channels, keys + key_head * dk, dk), dk);
      const RowVector v = mixed.segment(find(parts.channels, 2 * keys + head * dv, dv), dv);
      const double b = gates.data(row, find(*gates.columns, head, 1));
      const double a = gates.data(row, find(*gates.columns, linear.num_value_heads + head, 1));
      const double decay = DeltaDecay(a, layer_->linear_a_log(head), layer_->linear_dt_bias(head));
      const RowVector o = DeltaStep(q, k, v, b, decay, &state.heads[i]);
      const RowVector z = in.data.row(row).segment(find(*in.columns, channels + head * dv, dv), dv);
      out.data.row(row).segment(find(*out.columns, head * dv, dv), dv) =
          RmsNorm(o, layer_->linear_norm).cwiseProduct(z.unaryExpr(&Silu));
    }
  }
  return out;
}

}  // namespace shardscout::interpret
