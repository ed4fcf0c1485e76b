#include "http/client.h"

#include <gtest/gtest.h>
#include <httplib.h>

namespace holdfast::http {
namespace {

TEST(Client, IsMadeOfWhatIsAnAddress) {
  for (const char* url : {"http://a.example", "https://a.example/v0", "a.example:8081",
                          "http://10.0.0.1:8081/", "http://[fd00::a1]:8081", "https://[::1]"}) {
    EXPECT_NE(client_of(url), nullptr) << url;
  }
  for (const char* url : {"", "http://", "http://a:b", "http://[::1", "http://a:70000"}) {
    EXPECT_EQ(client_of(url), nullptr) << url;
  }
}

}  // namespace
}  // namespace holdfast::http
