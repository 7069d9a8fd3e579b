// The teacher's part of pretraining: solves random problems, one line of JSON each. Resumable: problems that the file
// has are not solved again. experiments/README.md has the command.

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>
#include <string>

#include "experiments/guarded_main.h"
#include "experiments/pretrain/teacher.h"
#include "shardscout/error.h"

namespace shardscout::pretrain {
namespace {

int Main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: pretrain_lessons FILE FIRST_SEED LAST_SEED\n";
    return 2;
  }
  const std::string path = argv[1];
  const std::uint64_t first = std::strtoull(argv[2], nullptr, 10), last = std::strtoull(argv[3], nullptr, 10);
  std::set<std::uint64_t> solved;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) solved.insert(ParseLesson(line).seed);
  in.close();
  std::ofstream out(path, std::ios::app);
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    if (solved.count(seed) > 0) continue;
    Lesson lesson;
    try {
      lesson = Solve(seed, 1500, seed % 4 == 0 ? 30 : 0);
    } catch (const SpecError&) {  // An empty space: a lesson of nothing, so that it is not tried again.
      lesson.seed = seed;
    }
    out << ToLine(lesson) << std::endl;
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::cout << "problems " << first << " to " << last << ": " << spent.count() << " s\n";
  return 0;
}

}  // namespace
}  // namespace shardscout::pretrain

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::pretrain::Main(argc, argv); });
}
