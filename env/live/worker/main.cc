// One rank of a live run: joins the others, then does what rank 0 is told through its control channel until that ends.

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "env/live/line_channel.h"
#include "env/live/live_messages.h"
#include "env/live/worker/measure.h"
#include "shardscout/evaluator.h"
#include "shardscout/plan.h"

namespace shardscout::live {
namespace {

constexpr int kFailed = 4;

struct Arguments {
  WorldOptions world;
  std::string device = "cpu";
  double timeout_s = 60;
  int control_fd = -1;
  int threads = 1;
};

std::vector<std::uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

/// Rank 0 waits until all have come, and says who has not.
void MeetAll(World& world) {
  c10d::Store& store = world.store();
  store.set("arrived-" + std::to_string(world.rank()), Bytes("1"));
  if (world.rank() == 0) {
    const auto deadline = std::chrono::steady_clock::now() + world.options().timeout;
    for (;;) {
      std::string missing;
      for (int rank = 1; rank < world.size(); ++rank) {
        if (!store.check({"arrived-" + std::to_string(rank)})) {
          missing += (missing.empty() ? "" : ", ") + std::to_string(rank);
        }
      }
      if (missing.empty()) break;
      if (std::chrono::steady_clock::now() >= deadline) {
        throw std::runtime_error("of " + std::to_string(world.size()) + " workers these ranks did not arrive within " +
                                 std::to_string(world.options().timeout.count() / 1000) + " s: " + missing);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  if (world.size() > 1) world.Barrier();
}

/// The next request: rank 0 has it from its channel (none: the end), the others from rank 0.
std::optional<std::string> NextRequest(World& world, LineChannel* control, std::int64_t number) {
  const std::string key = "request-" + std::to_string(number);
  if (world.rank() == 0) {
    const std::optional<std::string> line = control->Read(std::nullopt);
    world.store().set(key, Bytes(line.value_or("")));
    return line;
  }
  world.store().setTimeout(std::chrono::hours(24 * 365));  // A search may think for long.
  const std::vector<std::uint8_t> bytes = world.store().get(key);
  world.store().setTimeout(world.options().timeout);
  if (bytes.empty()) return std::nullopt;
  return std::string(bytes.begin(), bytes.end());
}

/// Evaluators of the searches that this rank helps with: one problem after another, one at a time.
struct Helper {
  std::string problem_json, evaluator_name;
  std::unique_ptr<Problem> problem;
  std::unique_ptr<Evaluator> evaluator;

  const Evaluator& For(const EvaluationRequest& request) {
    if (evaluator == nullptr || problem_json != request.problem_json || evaluator_name != request.evaluator) {
      evaluator.reset();
      problem = std::make_unique<Problem>(ParseProblem(request.problem_json, "request"));
      EvaluatorRegistry registry;
      RegisterBuiltinEvaluators(registry);
      evaluator = registry.Make(request.evaluator, *problem);
      problem_json = request.problem_json;
      evaluator_name = request.evaluator;
    }
    return *evaluator;
  }
};

/// This rank's share of a batch, then everybody's to rank 0.
std::string EvaluateShare(World& world, const EvaluationRequest& request, Helper* helper, int threads) {
  const Evaluator& evaluator = helper->For(request);
  std::vector<Strategy> share;
  for (std::size_t i = static_cast<std::size_t>(world.rank()); i < request.strategies.size();
       i += static_cast<std::size_t>(world.size())) {
    share.push_back(request.strategies[i]);
  }
  std::vector<std::string> answers(share.size());
  std::string failure;
  const auto count = static_cast<std::ptrdiff_t>(share.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (count > 1 && threads > 1)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::size_t>(i);
    try {
      answers[index] = ToJson(evaluator.Evaluate(share[index]));
    } catch (const std::exception& error) {  // Must not leave the parallel region.
#pragma omp critical
      failure = error.what();
    }
  }
  if (!failure.empty()) throw std::runtime_error(failure);
  std::string text = "[";
  for (const std::string& answer : answers) text += (text.size() > 1 ? "," : "") + answer;
  text += "]";
  return JoinEvaluations(GatherText(world, text));
}

/// Before anything is given to a device that is not there.
void CheckDevice(at::Device device) {
  if (!device.is_cuda()) return;
  const auto gpus = static_cast<int>(torch::cuda::device_count());
  if (device.index() < gpus) return;
#ifdef USE_C10D_NCCL
  constexpr const char* kRemedy = "give --device cpu, or at most so many processes a host";
#else
  constexpr const char* kRemedy = "it is built without CUDA, give --device cpu";
#endif
  throw std::runtime_error("needs GPU " + std::to_string(device.index()) + ", and LibTorch sees " +
                           std::to_string(gpus) + " here; " + kRemedy);
}

void Serve(World& world, LineChannel* control, int threads) {
  MeetAll(world);
  if (control != nullptr) control->Write(R"({"ready":true})");
  Measurer measurer(world);
  Helper helper;
  for (std::int64_t number = 0;; ++number) {
    const std::optional<std::string> line = NextRequest(world, control, number);
    if (!line) break;
    const std::string answer = IsEvaluationRequest(*line)
                                   ? EvaluateShare(world, ParseEvaluationRequest(*line), &helper, threads)
                                   : ToJson(measurer.Run(ParseLiveRequest(*line)));
    if (control != nullptr) control->Write(answer);
  }
  // Rank 0 has the store that the others are still reading from.
  if (world.size() > 1) world.Barrier();
}

/// The first failure is the cause; what others see of it is a broken connection.
void NoteFailure(World& world, const std::string& message) {
  try {
    if (world.store().add("failures", 1) == 1) world.store().set("failure", Bytes(message));
  } catch (const std::exception&) {  // Rank 0 is gone.
  }
}

std::string FirstFailure(World& world, const std::string& own) {
  try {
    if (world.store().add("failures", 1) == 1) return own;
    const std::vector<std::uint8_t> first = world.store().get("failure");
    return {first.begin(), first.end()};
  } catch (const std::exception&) {
    return own;
  }
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("One rank of a live run; shardscout starts it.");
  app.add_option("--rank", arguments.world.rank)->required();
  app.add_option("--world", arguments.world.size)->required();
  app.add_option("--master-address", arguments.world.master_address)->capture_default_str();
  app.add_option("--master-port", arguments.world.master_port)->capture_default_str();
  app.add_option("--backend", arguments.world.backend)->capture_default_str();
  app.add_option("--device", arguments.device)->capture_default_str();
  app.add_option("--timeout", arguments.timeout_s, "Seconds")->capture_default_str();
  app.add_option("--control-fd", arguments.control_fd, "Rank 0's requests and answers");
  app.add_option("--threads", arguments.threads)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  signal(SIGINT, SIG_IGN);  // Ctrl-C is for the search, which then ends its workers.
  signal(SIGPIPE, SIG_IGN);
  at::set_num_threads(arguments.threads);
  arguments.world.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(arguments.timeout_s * 1000));
  arguments.world.device = at::Device(arguments.device);

  std::optional<LineChannel> control;
  if (arguments.world.rank == 0) control.emplace(arguments.control_fd);
  LineChannel* const channel = control ? &*control : nullptr;
  std::optional<World> world;
  try {
    CheckDevice(arguments.world.device);
    world.emplace(arguments.world);
    if (channel != nullptr) channel->Write(nlohmann::json{{"port", world->port()}}.dump());
    Serve(*world, channel, arguments.threads);
  } catch (const std::exception& error) {
    std::string message = error.what();
    message = "rank " + std::to_string(arguments.world.rank) + ": " + message.substr(0, message.find('\n'));
    if (channel != nullptr) {
      channel->Write(ErrorLine(world ? FirstFailure(*world, message) : message));
    } else {
      if (world) NoteFailure(*world, message);
      std::cerr << "shardscout live worker, " << message << std::endl;
    }
    std::_Exit(kFailed);
  }
  std::_Exit(0);  // Process groups have threads that may still wait for lost peers.
}

}  // namespace
}  // namespace shardscout::live

int main(int argc, char** argv) { return shardscout::live::Main(argc, argv); }
