#include "agents/action_head.h"

#include <algorithm>
#include <cmath>

#include "agents/decoder_kernels.h"
#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

using std::int64_t;

class HeadFunction : public torch::autograd::Function<HeadFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& queries,
                            const at::Tensor& table, const ActionRecord* record,
                            const std::vector<std::size_t>* actions) {
    const int64_t count = queries.size(0), length = queries.size(1), width = queries.size(2);
    at::Tensor out = at::zeros({2, count, length});
    float* logprob = out.data_ptr<float>();
    float* entropy = logprob + count * length;
    std::vector<float> all, logits;  // Log-probabilities of all allowed choices of free sub-actions, one after another.
    for (int64_t i = 0; i < count; ++i) {
      const std::size_t action = (*actions)[static_cast<std::size_t>(i)];
      for (int64_t a = 0; a < length; ++a) {
        const std::size_t sub_action = static_cast<std::size_t>(a);
        if (record->Forced(action, sub_action)) continue;
        AllowedLogits(queries.data_ptr<float>() + (i * length + a) * width, table, record->Rows(action, sub_action),
                      record->LogPrior(action, sub_action), logits);
        entropy[i * length + a] = kernels::LogSoftmax(logits.data(), static_cast<int64_t>(logits.size()));
        logprob[i * length + a] = logits[record->Chosen(action, sub_action)];
        all.insert(all.end(), logits.begin(), logits.end());
      }
    }
    at::Tensor kept = at::empty({static_cast<int64_t>(all.size())});
    std::copy(all.begin(), all.end(), kept.data_ptr<float>());
    context->save_for_backward({queries, table, kept, out});
    context->saved_data["record"] = reinterpret_cast<int64_t>(record);
    context->saved_data["actions"] = reinterpret_cast<int64_t>(actions);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const auto& record = *reinterpret_cast<const ActionRecord*>(context->saved_data["record"].toInt());
    const auto& actions = *reinterpret_cast<const std::vector<std::size_t>*>(context->saved_data["actions"].toInt());
    const at::Tensor& queries = saved[0];
    const at::Tensor& table = saved[1];
    const int64_t count = queries.size(0), length = queries.size(1), width = queries.size(2);
    const at::Tensor gradient = gradients[0].contiguous();
    const float* dlogprob = gradient.data_ptr<float>();
    const float* dentropy = dlogprob + count * length;
    const float* entropy = saved[3].data_ptr<float>() + count * length;
    const float* logp = saved[2].data_ptr<float>();
    at::Tensor dqueries = at::zeros_like(queries), dtable = at::zeros_like(table);
    std::vector<float> dlogits;
    for (int64_t i = 0; i < count; ++i) {
      const std::size_t action = actions[static_cast<std::size_t>(i)];
      for (int64_t a = 0; a < length; ++a) {
        const std::size_t sub_action = static_cast<std::size_t>(a);
        if (record.Forced(action, sub_action)) continue;
        const int64_t cell = i * length + a;
        const std::span<const std::int32_t> rows = record.Rows(action, sub_action);
        const int64_t n = static_cast<int64_t>(rows.size());
        const int64_t chosen = static_cast<int64_t>(record.Chosen(action, sub_action));
        dlogits.resize(rows.size());
        kernels::LogSoftmaxBackward(logp, n, entropy[cell], chosen, dlogprob[cell], dentropy[cell], dlogits.data());
        kernels::DotTableBackward(dlogits.data(), queries.data_ptr<float>() + cell * width, table.data_ptr<float>(),
                                  width, rows.data(), n, dqueries.data_ptr<float>() + cell * width,
                                  dtable.data_ptr<float>());
        logp += n;
      }
    }
    return {dqueries, dtable, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

void ActionRecord::Set(std::size_t action, std::size_t sub_action, const Options& allowed, std::size_t chosen) {
  SHARDSCOUT_CHECK_OP(chosen, <, allowed.size());
  const std::size_t begin = rows_.size();
  rows_.insert(rows_.end(), allowed.rows.begin(), allowed.rows.end());
  log_prior_.insert(log_prior_.end(), allowed.log_prior.begin(), allowed.log_prior.end());
  cells_.at(action * num_sub_actions_ + sub_action) = {begin, rows_.size(), chosen};
}

std::span<const std::int32_t> ActionRecord::Rows(std::size_t action, std::size_t sub_action) const {
  const Cell& cell = At(action, sub_action);
  return std::span<const std::int32_t>(rows_).subspan(cell.begin, cell.end - cell.begin);
}

std::span<const float> ActionRecord::LogPrior(std::size_t action, std::size_t sub_action) const {
  const Cell& cell = At(action, sub_action);
  return std::span<const float>(log_prior_).subspan(cell.begin, cell.end - cell.begin);
}

std::size_t ActionRecord::Chosen(std::size_t action, std::size_t sub_action) const {
  return At(action, sub_action).chosen;
}

std::int32_t ActionRecord::ChosenRow(std::size_t action, std::size_t sub_action) const {
  return Rows(action, sub_action)[Chosen(action, sub_action)];
}

void AllowedLogits(const float* query, const at::Tensor& table, std::span<const std::int32_t> rows,
                   std::span<const float> log_prior, std::vector<float>& logits) {
  logits.resize(rows.size());
  kernels::DotTable(query, table.data_ptr<float>(), table.size(1), rows.data(), static_cast<int64_t>(rows.size()),
                    logits.data());
  for (std::size_t c = 0; c < logits.size(); ++c) logits[c] += log_prior[c];
}

at::Tensor ActionLogprobs(const at::Tensor& queries, const at::Tensor& table, const ActionRecord& record,
                          const std::vector<std::size_t>& actions) {
  return HeadFunction::apply(queries.contiguous(), table, &record, &actions);
}

}  // namespace shardscout::agents
