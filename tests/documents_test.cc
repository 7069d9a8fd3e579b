// Documents say what is so: code that they show is the file that the tests compile, their links lead somewhere, and the
// changelog's newest version is this one. scripts/check_documents.sh runs their commands.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "shardscout/version.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;

const fs::path kTop = SHARDSCOUT_TEST_SOURCE_DIR;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<fs::path> Documents() {
  std::vector<fs::path> documents = {kTop / "README.md", kTop / "CONTRIBUTING.md", kTop / "CHANGELOG.md"};
  for (const auto& entry : fs::directory_iterator(kTop / "docs")) {
    if (entry.path().extension() == ".md") documents.push_back(entry.path());
  }
  return documents;
}

TEST(DocumentsTest, ShowTheFilesThatTheyName) {
  const std::regex begins("<!-- file ([^ ]+) begins -->\n```[a-z]+\n");
  int shown = 0;
  for (const fs::path& document : Documents()) {
    const std::string text = Read(document);
    for (std::sregex_iterator match(text.begin(), text.end(), begins), none; match != none; ++match) {
      const std::string name = (*match)[1];
      const auto start = static_cast<std::size_t>(match->position() + match->length());
      const std::size_t end = text.find("```\n<!-- file " + name + " ends -->", start);
      ASSERT_NE(end, std::string::npos) << document << " " << name;
      EXPECT_EQ(text.substr(start, end - start), Read(kTop / name)) << document;
      ++shown;
    }
  }
  EXPECT_GE(shown, 2) << "README.md and docs/library.md";
}

TEST(DocumentsTest, LinksLeadSomewhere) {
  const std::regex link("\\]\\(([^)#:]+)(#[^)]*)?\\)");
  std::vector<std::string> broken;
  int links = 0;
  for (const fs::path& document : Documents()) {
    const std::string text = Read(document);
    for (std::sregex_iterator match(text.begin(), text.end(), link), none; match != none; ++match) {
      ++links;
      if (!fs::exists(document.parent_path() / (*match)[1].str()))
        broken.push_back(document.string() + ": " + match->str());
    }
  }
  EXPECT_THAT(broken, ::testing::IsEmpty());
  EXPECT_GT(links, 20);
}

TEST(DocumentsTest, TheChangelogKnowsThisVersion) {
  const std::string text = Read(kTop / "CHANGELOG.md");
  const std::size_t newest = text.find("\n## ");
  ASSERT_NE(newest, std::string::npos);
  EXPECT_EQ(text.substr(newest + 4, Version().size()), Version());
}

}  // namespace
}  // namespace shardscout
