#include "tests/strategies/interpreter.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {
namespace {

class Instance {
 public:
  Instance(const Problem& problem, const Program& program, ReferenceModel& reference)
      : problem_(problem),
        program_(program),
        strategy_(program.strategy),
        model_(problem.model()),
        reference_(reference),
        caches_(static_cast<std::size_t>(model_.num_layers),
                LayerCache(static_cast<std::size_t>(strategy_.StageSize()))),
        index_caches_(caches_),
        linear_states_(caches_.size(), LinearStates(static_cast<std::size_t>(strategy_.StageSize()))) {}

  Interpretation Run() {
    CheckStages();
    const WorkloadSpec& workload = problem_.workload();
    std::int64_t position = workload.input_tokens;
    for (const PhaseProgram& phase : program_.phases) {
      if (phase.phase == Phase::kPrefill) {
        for (const auto& requests : PrefillPasses(phase)) RunPass(phase, requests, 0);
        continue;
      }
      if (workload.kind != WorkloadKind::kServe) {
        position = phase.context;
        LoadCaches(phase);
      }
      for (; position < workload.CachePositions(); ++position) {
        for (const auto& requests : MicroBatches(phase)) RunPass(phase, requests, position);
      }
    }
    CheckCaches();
    return result_;
  }

 private:
  using Requests = std::vector<std::vector<std::int64_t>>;  // [dp][requests of a pass]

  void CheckStages() const {
    std::int64_t next = 0;
    for (const Stage& stage : program_.stages) {
      if (stage.first_layer != next || stage.num_layers < 1) throw InterpretError("stages: layers are left out");
      next += stage.num_layers;
    }
    if (next != model_.num_layers ||
        static_cast<std::int64_t>(program_.stages.size()) != strategy_.pipeline_parallel_size) {
      throw InterpretError("stages: not the model's layers over pp");
    }
  }

  std::vector<Requests> MicroBatches(const PhaseProgram& phase) const {
    if (phase.requests * phase.num_microbatches != strategy_.batch_size) {
      throw InterpretError("the micro-batches are not the batch");
    }
    std::vector<Requests> passes;
    for (std::int64_t m = 0; m < phase.num_microbatches; ++m) {
      Requests requests(static_cast<std::size_t>(strategy_.data_parallel_size));
      for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
        for (std::int64_t j = 0; j < phase.requests; ++j) {
          requests[static_cast<std::size_t>(d)].push_back(d * strategy_.batch_size + m * phase.requests + j);
        }
      }
      passes.push_back(std::move(requests));
    }
    return passes;
  }

  /// Serve: passes over the decode batch; where a pass has tp requests, request j is one of tp rank j's in decode.
  std::vector<Requests> PrefillPasses(const PhaseProgram& phase) const {
    if (problem_.workload().kind != WorkloadKind::kServe) return MicroBatches(phase);
    const std::int64_t tp = strategy_.tensor_parallel_size;
    const std::int64_t micro = program_.phases.back().requests;
    if (phase.requests != 1 && (phase.requests != tp || micro % tp != 0)) {
      throw InterpretError("a prefill pass of an unexpected number of requests");
    }
    std::vector<Requests> passes;
    const std::int64_t share = micro / phase.requests;
    for (std::int64_t first = 0; first < strategy_.batch_size; first += micro) {
      for (std::int64_t i = 0; i < share; ++i) {
        Requests requests(static_cast<std::size_t>(strategy_.data_parallel_size));
        for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
          for (std::int64_t j = 0; j < phase.requests; ++j) {
            requests[static_cast<std::size_t>(d)].push_back(d * strategy_.batch_size + first + j * share + i);
          }
        }
        passes.push_back(std::move(requests));
      }
    }
    return passes;
  }

  Pass MakePass(const PhaseProgram& phase, const Requests& requests, std::int64_t position) const {
    return {.phase = phase.phase,
            .token_shard_by_request = phase.token_shard_by_request,
            .input_tokens = problem_.workload().input_tokens,
            .padded_input = phase.padded_input,
            .position = position,
            .requests = requests};
  }

  BlockRunner Runner(Layouts* layouts, std::int64_t layer) {
    const bool in_layer = layer >= 0;
    const auto index = static_cast<std::size_t>(std::max<std::int64_t>(layer, 0));
    LayerState state;
    if (in_layer) {
      state = {&reference_.weights().layers[index], model_.WindowOf(layer), &caches_[index], &index_caches_[index],
               &linear_states_[index]};
    }
    return BlockRunner(model_, strategy_, reference_.weights(), state, layouts);
  }

  /// The plan by which the decode program keeps its cache; its attention task says it.
  static const CachePlan& PlanOf(const PhaseProgram& phase) {
    for (const Task& task : phase.BlockOf(BlockKind::kAttention).tasks) {
      if (task.kind == TaskKind::kAttention) return task.cache;
    }
    throw InterpretError("an attention block without attention");
  }

  void LoadCaches(const PhaseProgram& phase) {
    const CachePlan& plan = PlanOf(phase);
    for (const Requests& requests : MicroBatches(phase)) {
      Layouts layouts(model_, strategy_, MakePass(phase, requests, phase.context));
      BlockRunner runner = Runner(&layouts, 0);
      for (std::int64_t rank = 0; rank < strategy_.StageSize(); ++rank) {
        const Tags columns = *runner.CacheColumns(plan, rank);
        const auto& mine = requests[static_cast<std::size_t>(layouts.At(rank).d)];
        for (std::size_t layer = 0; layer < caches_.size(); ++layer) {
          if (model_.IsLinear(static_cast<std::int64_t>(layer))) {
            LoadStates(phase, layer, rank, mine, runner, layouts);
            continue;
          }
          const std::int64_t window = model_.WindowOf(static_cast<std::int64_t>(layer));
          const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, phase.context - window) : 0;
          std::vector<std::int64_t> positions;
          for (std::int64_t p = first; p < phase.context; ++p) {
            if (layouts.OwnsPosition(plan, rank, p)) positions.push_back(p);
          }
          for (std::size_t j = 0; j < mine.size(); ++j) {
            if (!layouts.OwnsRequest(plan, rank, static_cast<std::int64_t>(j)) || positions.empty()) continue;
            const ReferenceRequest& request = reference_.Request(mine[j]);
            CacheEntry& entry = caches_[layer][static_cast<std::size_t>(rank)][mine[j]];
            entry = {columns, positions, request.cache[layer](positions, columns)};
            if (!model_.attention.HasIndexer()) continue;
            CacheEntry& keys = index_caches_[layer][static_cast<std::size_t>(rank)][mine[j]];
            keys = {{}, positions, request.index_cache[layer](positions, Eigen::all)};
          }
        }
      }
    }
  }

  /// The plan of the linear layers' states.
  static const CachePlan& LinearPlanOf(const PhaseProgram& phase) {
    for (const Task& task : phase.BlockOf(BlockKind::kLinearAttention).tasks) {
      if (task.kind == TaskKind::kLinearAttention) return task.cache;
    }
    throw InterpretError("a linear attention block without its core");
  }

  void LoadStates(const PhaseProgram& phase, std::size_t layer, std::int64_t rank,
                  const std::vector<std::int64_t>& requests, BlockRunner& runner, Layouts& layouts) {
    const CachePlan& plan = LinearPlanOf(phase);
    for (std::size_t j = 0; j < requests.size(); ++j) {
      if (!layouts.OwnsRequest(plan, rank, static_cast<std::int64_t>(j))) continue;
      const ReferenceRequest& request = reference_.Request(requests[j]);
      LinearState& state = linear_states_[layer][static_cast<std::size_t>(rank)][requests[j]];
      state.positions = phase.context;
      state.parts = runner.LinearPartsOf(plan, rank);
      const Eigen::Index kept = model_.linear_attention.conv_width - 1;
      const Matrix inputs = request.linear_inputs[layer].middleRows(phase.context - kept, kept);
      state.inputs = inputs(Eigen::all, state.parts.channels);
      const std::vector<Matrix>& before = request.linear_states[layer][static_cast<std::size_t>(phase.context)];
      for (const Tag head : state.parts.heads) state.heads.push_back(before[static_cast<std::size_t>(head)]);
    }
  }

  Held Ids(const Value& value, Layouts& layouts) {
    Held ids;
    const Pass& pass = layouts.pass();
    for (std::int64_t rank = 0; rank < layouts.Ranks(); ++rank) {
      Local local{layouts.LocalTokens(value, rank), layouts.LocalColumns(value, rank), {}, {}};
      local.data = Matrix::Zero(static_cast<Eigen::Index>(local.rows->size()), 1);
      for (std::size_t i = 0; i < local.rows->size(); ++i) {
        const Tag row = (*local.rows)[i];
        const auto p = static_cast<std::size_t>(PositionOf(row));
        if (pass.phase == Phase::kPrefill && PositionOf(row) >= pass.input_tokens) continue;  // Padding: id 0.
        local.data(static_cast<Eigen::Index>(i), 0) = static_cast<double>(reference_.Request(RequestOf(row)).ids[p]);
      }
      ids.at.push_back(std::make_shared<const Local>(std::move(local)));
    }
    return ids;
  }

  /// One send from a rank to its equal `stages` stages away.
  void CheckSend(const Block& block, std::size_t index, std::int64_t stages, const Held& held, BlockRunner& runner,
                 const std::string& where) const {
    const std::string place = where + ", task " + std::to_string(index) + " (send_recv)";
    const Task* task = index < block.tasks.size() ? &block.tasks[index] : nullptr;
    if (task == nullptr || task->kind != TaskKind::kCollective || task->collective != Collective::kSendRecv) {
      throw InterpretError(place + ": is missing");
    }
    if (task->group.size != 2 || task->group.stride != stages * strategy_.StageSize()) {
      throw InterpretError(place + ": does not reach the stage");
    }
    const Value& in = block.values.at(static_cast<std::size_t>(task->input));
    const Value& out = block.values.at(static_cast<std::size_t>(task->output));
    if (!(in == out)) throw InterpretError(place + ": changes its value");
    try {
      runner.CheckValue(in, held);
    } catch (const InterpretError& error) {
      throw InterpretError(place + error.what());
    }
    if (runner.SentBytes(in, held) != task->payload_bytes) throw InterpretError(place + ": payload_bytes is wrong");
  }

  void Transfer(const PhaseProgram& phase, const Held& residual, Layouts& layouts, const std::string& where) {
    const Block& block = phase.BlockOf(BlockKind::kTransfer);
    BlockRunner runner = Runner(&layouts, -1);
    CheckSend(block, 0, 1, residual, runner, where);
    const Task& send = block.tasks[0];
    if (send.input != block.input || send.output != block.output || send.output == send.input) {
      throw InterpretError(where + ": the residual stream is not what is sent");
    }
    if (phase.phase == Phase::kDecode) {
      if (block.tasks.size() != 2) throw InterpretError(where + ": token ids do not return to stage 0");
      const Value& ids = block.values.at(static_cast<std::size_t>(block.tasks[1].input));
      if (ids.kind != TensorKind::kIds) throw InterpretError(where + ": returns something else than token ids");
      CheckSend(block, 1, strategy_.pipeline_parallel_size - 1, Ids(ids, layouts), runner, where);
    }
  }

  void RunPass(const PhaseProgram& phase, const Requests& requests, std::int64_t position) {
    ++result_.passes;
    Layouts layouts(model_, strategy_, MakePass(phase, requests, position));
    const std::string name(ToString(phase.phase));
    Held x;
    for (const Stage& stage : program_.stages) {
      if (stage.first_layer == 0) {
        const Block& embedding = phase.BlockOf(BlockKind::kEmbedding);
        const Value& ids = embedding.values.at(static_cast<std::size_t>(embedding.input));
        x = Runner(&layouts, -1).Run(embedding, Ids(ids, layouts), name + " embedding");
      } else {
        Transfer(phase, x, layouts, name + " transfer");
      }
      for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
        const std::string place = name + " layer " + std::to_string(layer);
        BlockRunner runner = Runner(&layouts, layer);
        x = runner.Run(phase.BlockOf(AttentionBlockOf(model_, layer)), std::move(x), place + " attention");
        const bool moe = model_.layers[static_cast<std::size_t>(layer)] == LayerKind::kMoe;
        x = runner.Run(phase.BlockOf(moe ? BlockKind::kMoe : BlockKind::kDenseFfn), std::move(x),
                       place + (moe ? " moe" : " ffn"));
      }
    }
    const Held logits = Runner(&layouts, -1).Run(phase.BlockOf(BlockKind::kHead), std::move(x), name + " head");
    Compare(logits, layouts, name);
  }

  void Compare(const Held& logits, Layouts& layouts, const std::string& name) {
    const Pass& pass = layouts.pass();
    const std::int64_t position = pass.phase == Phase::kDecode ? pass.position : pass.input_tokens - 1;
    if (logits.partial != kPartialNone) throw InterpretError(name + " logits: left as partial sums");
    std::set<std::int64_t> missing;
    for (const auto& requests : pass.requests) missing.insert(requests.begin(), requests.end());
    Value expected_layout;  // "lm_head ends with the gather to the sampler": every rank of a cell has its logits.
    expected_layout.last_only = pass.phase == Phase::kPrefill;
    for (std::size_t rank = 0; rank < logits.at.size(); ++rank) {
      const LocalPtr& local = logits.at[rank];
      if (*local->rows != *layouts.LocalTokens(expected_layout, static_cast<std::int64_t>(rank))) {
        throw InterpretError(name + " logits: not gathered to every rank of a cell");
      }
      for (std::size_t i = 0; i < local->rows->size(); ++i) {
        const Tag row = (*local->rows)[i];
        if (PositionOf(row) != position) throw InterpretError(name + " logits: of a position that nobody asked for");
        const auto expected = reference_.Request(RequestOf(row)).logits.row(position);
        if (local->data.cols() != expected.cols()) throw InterpretError(name + " logits: not the whole vocabulary");
        const double difference = (local->data.row(static_cast<Eigen::Index>(i)) - expected).cwiseAbs().maxCoeff();
        const double error = difference / expected.cwiseAbs().maxCoeff();
        if (!(error <= result_.max_error)) result_.max_error = error;
        ++result_.logits_rows;
        missing.erase(RequestOf(row));
      }
    }
    if (!missing.empty())
      throw InterpretError(name + " logits: no rank holds request " + std::to_string(*missing.begin()));
  }

  void CheckStates(const LinearStates& states) const {
    const auto elements = [](const Matrix& matrix) { return static_cast<double>(matrix.size()); };
    const double expected = LinearStateBytesPerLayer(problem_, strategy_);
    for (const auto& of_rank : states) {
      double bytes = 0;
      for (const auto& [request, state] : of_rank) {
        bytes += elements(state.inputs) * BytesPerElement(model_.residual_dtype);
        for (const Matrix& head : state.heads) {
          bytes += elements(head) * BytesPerElement(model_.linear_attention.state_dtype);
        }
      }
      if (bytes != expected) {
        throw InterpretError("a rank's states have " + std::to_string(bytes) + " bytes a layer, not " +
                             std::to_string(expected));
      }
    }
  }

  void CheckCaches() const {
    const CachePlan& plan = PlanOf(program_.phases.back());
    const std::int64_t parts =
        strategy_.context_parallel_size * (plan.positions_over_tp ? strategy_.tensor_parallel_size : 1);
    for (std::size_t layer = 0; layer < caches_.size(); ++layer) {
      if (model_.IsLinear(static_cast<std::int64_t>(layer))) {
        CheckStates(linear_states_[layer]);
        continue;
      }
      const LayerCache& cache = caches_[layer];
      const std::int64_t window = model_.WindowOf(static_cast<std::int64_t>(layer));
      std::int64_t positions = problem_.workload().CachePositions();
      if (window > 0) positions = std::min(positions, window);
      const bool windowed = model_.HasMixedWindows() && window > 0;
      const double expected =
          CacheElementsPerLayer(problem_, strategy_, windowed ? BlockKind::kWindowAttention : BlockKind::kAttention);
      double most = 0;
      for (const auto& of_rank : cache) {
        double elements = 0;
        for (const auto& [request, entry] : of_rank) elements += static_cast<double>(entry.data.size());
        most = std::max(most, elements);
        if (positions % parts == 0 && elements != expected) {
          throw InterpretError("a rank's cache has " + std::to_string(elements) + " elements a layer, not " +
                               std::to_string(expected));
        }
      }
      if (most != expected) {
        throw InterpretError("the fullest cache has " + std::to_string(most) + " elements a layer, not " +
                             std::to_string(expected));
      }
    }
    for (const LayerCache& cache : index_caches_) {
      for (const auto& of_rank : cache) {
        std::int64_t keys = 0;
        for (const auto& [request, entry] : of_rank) keys += std::ssize(entry.positions);
        const double bytes = static_cast<double>(keys * IndexCacheBytesPerToken(model_));
        if (bytes != IndexCacheBytesPerLayer(problem_, strategy_)) {
          throw InterpretError("a rank's index cache has " + std::to_string(bytes) + " bytes a layer, not " +
                               std::to_string(IndexCacheBytesPerLayer(problem_, strategy_)));
        }
      }
    }
  }

  const Problem& problem_;
  const Program& program_;
  const Strategy& strategy_;
  const ModelSpec& model_;
  ReferenceModel& reference_;
  std::vector<LayerCache> caches_;  // [layer][rank]; a rank stands for its equals in all stages.
  std::vector<LayerCache> index_caches_;
  std::vector<LinearStates> linear_states_;
  Interpretation result_;
};

}  // namespace

Interpretation Interpret(const Problem& problem, const Program& program, ReferenceModel& reference) {
  return Instance(problem, program, reference).Run();
}

}  // namespace shardscout::interpret
