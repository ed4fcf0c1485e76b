#include "http/router.h"

#include <gtest/gtest.h>

namespace holdfast::http {
namespace {

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    for (const char* route : routes) {
      const std::string text = route;
      router.add(text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1));
    }
  }
  // "PUT /v0/x/{id} id=1", "405 GET PUT" or "404".
  std::string find(const std::string& method, const std::string& path) {
    const auto target = Target::parse(path);
    const auto outcome = router.find(method, target.value().segments);
    std::string text;
    if (outcome.match) {
      text = routes[outcome.match->route];
      for (const auto& [key, value] : outcome.match->parameters) text += " " + key + "=" + value;
      return text;
    }
    text = outcome.allowed.empty() ? "404" : "405";
    for (const auto& allowed : outcome.allowed) text += " " + allowed;
    return text;
  }

  static constexpr const char* routes[] = {
      "GET /v0/volumes",
      "GET /v0/volumes/{id}",
      "PUT /v0/volumes/{id}",
      "GET /v0/volumes/snapshots",
      "GET /v0/volumes/snapshots/{snapshot}",
      "DELETE /v0/volumes/{id}/target",
      "DELETE /v0/volumes{id}/share",
      "PUT /v0/nodes/{id}/label/{key}={value}",
      "DELETE /v0/nodes/{id}/label/{key...}",
      "GET /v0/nexuses/{id}/children",
      "GET /v0/nexuses/{id}/children/{child...}",
  };
  Router router;
};

TEST_F(RouterTest, FindsTheOperation) {
  const struct {
    const char* method;
    const char* path;
    const char* expected;
  } cases[] = {
      {"GET", "/v0/volumes", "GET /v0/volumes"},
      {"GET", "/v0/volumes/1", "GET /v0/volumes/{id} id=1"},
      {"PUT", "/v0/volumes/1", "PUT /v0/volumes/{id} id=1"},
      {"GET", "/v0/volumes/snapshots", "GET /v0/volumes/snapshots"},
      {"GET", "/v0/volumes/snapshots/7", "GET /v0/volumes/snapshots/{snapshot} snapshot=7"},
      {"DELETE", "/v0/volumes7/share", "DELETE /v0/volumes{id}/share id=7"},
      {"PUT", "/v0/nodes/n/label/zone=a", "PUT /v0/nodes/{id}/label/{key}={value} id=n key=zone value=a"},
      {"PUT", "/v0/nodes/n/label/x.io/zone=a=b",
       "PUT /v0/nodes/{id}/label/{key}={value} id=n key=x.io/zone value=a=b"},
      {"PUT", "/v0/nodes/n/label/x.io%2Fzone%3D",
       "PUT /v0/nodes/{id}/label/{key}={value} id=n key=x.io/zone value="},
      {"DELETE", "/v0/nodes/n/label/x.io/zone", "DELETE /v0/nodes/{id}/label/{key...} id=n key=x.io/zone"},
      {"GET", "/v0/nexuses/1/children", "GET /v0/nexuses/{id}/children id=1"},
      {"GET", "/v0/nexuses/1/children/nvmf://h:1/n",
       "GET /v0/nexuses/{id}/children/{child...} child=nvmf://h:1/n id=1"},
      {"GET", "/v0/nexuses/1/children/aio%3A%2F%2F%2Fdev",
       "GET /v0/nexuses/{id}/children/{child...} child=aio:///dev id=1"},
  };
  for (const auto& c : cases) EXPECT_EQ(find(c.method, c.path), c.expected) << c.path;
}

TEST_F(RouterTest, TellsAnUnknownPathFromAWrongMethod) {
  const struct {
    const char* method;
    const char* path;
    const char* expected;
  } cases[] = {
      {"GET", "/", "404"},
      {"GET", "/v0", "404"},
      {"GET", "/v1/volumes", "404"},
      {"GET", "/v0/volumes/", "404"},
      {"GET", "/v0/volumes/1/2", "404"},
      {"GET", "/v0/volumes/share", "GET /v0/volumes/{id} id=share"},
      {"DELETE", "/v0/volumes/share", "405 GET PUT"},
      {"PUT", "/v0/volumes", "405 GET"},
      {"DELETE", "/v0/volumes/1", "405 GET PUT"},
      {"PUT", "/v0/volumes/snapshots", "405 GET"},
      {"PUT", "/v0/nodes/n/label/zone", "405 DELETE"},
      {"PUT", "/v0/nodes/n/label/=a", "405 DELETE"},
      {"GET", "/v0/nexuses/1/children/", "404"},
      {"FETCH", "/v0/volumes", "405 GET"},
  };
  for (const auto& c : cases) EXPECT_EQ(find(c.method, c.path), c.expected) << c.path;
}

}  // namespace
}  // namespace holdfast::http
