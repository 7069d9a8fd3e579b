// A search that is killed wherever it happens to be goes on to the plan that it would have found.

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/random.h"
#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

namespace fs = std::filesystem;

struct Killed {
  std::string searcher;
  int budget;
  int kills;
};

class RandomKills : public Cli {
 protected:
  Words SearchBy(const Killed& killed, const std::string& plan) const {
    return {"search",
            "--model",
            "llama-3.1-8b",
            "--cluster",
            "h100-sxm",
            "--devices",
            "8",
            "--workload",
            "serve-chat",
            "--searcher",
            killed.searcher,
            "--budget",
            std::to_string(killed.budget),
            "--out",
            Path(plan),
            "--quiet"};
  }

  static std::uintmax_t SizeOf(const std::string& path) {
    std::error_code missing;
    const std::uintmax_t size = fs::file_size(path, missing);
    return missing ? 0 : size;
  }

  bool HasAgents() const { return Run({"list", "searchers"}).out.find("\nppo ") != std::string::npos; }
};

TEST_F(RandomKills, TwentyKilledSearchesEndInTheUndisturbedPlan) {
  std::vector<Killed> rows = {{"annealing", 1500, 8}, {"random-walk", 1500, 8}};
  if (HasAgents()) {
    rows.push_back({"ppo", 128, 4});
  } else {
    rows.push_back({"random", 1500, 4});
  }
  Rng rng(20);
  int kills = 0;
  for (const Killed& row : rows) {
    SCOPED_TRACE(row.searcher);
    ASSERT_EQ(Run(SearchBy(row, "whole.json")).exit_code, 0);
    const std::string plan = Read(Path("whole.json")), journal = Read(Path("whole.journal.jsonl"));
    const std::string broken_journal = Path("broken.journal.jsonl");
    // Where the program ended before it could be killed, another moment is drawn; a busy machine may need a few.
    for (int i = 0, tries = 0; i < row.kills; ++tries) {
      ASSERT_LT(tries, 20 * row.kills) << "it always ended before it could be killed";
      fs::remove(Path("broken.json"));
      fs::remove(broken_journal);
      const std::uintmax_t moment = rng.Below(journal.size());
      SCOPED_TRACE("at byte " + std::to_string(moment));
      const ProcessResult killed =
          Run(SearchBy(row, "broken.json"), {}, [&] { return SizeOf(broken_journal) > moment ? SIGKILL : 0; });
      if (killed.signal != SIGKILL) continue;
      ++i;
      ++kills;
      const std::string left = Read(broken_journal);
      ASSERT_GT(left.size(), moment);
      ASSERT_TRUE(journal.starts_with(left)) << "what was paid for is not what the undisturbed run paid for";

      Words resume = SearchBy(row, "broken.json");
      resume.insert(resume.end(), {"--resume", "--json"});
      const ProcessResult resumed = Run(resume);
      ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
      EXPECT_TRUE(Read(Path("broken.json")) == plan);
      EXPECT_TRUE(Read(broken_journal) == journal) << "not the journal of the undisturbed run";
      EXPECT_EQ(nlohmann::json::parse(resumed.out)["replayed"], std::count(left.begin(), left.end(), '\n') - 1);
    }
  }
  EXPECT_EQ(kills, 20);
}

}  // namespace
}  // namespace shardscout::test
