// What a server under test says to requests that it does not understand. Tests only.
#pragma once

#include <string>

#include "http/server.h"

namespace holdfast::http::test {

inline Reply plain_refusal(int status, std::string why) {
  Reply reply;
  reply.status = status;
  reply.content_type = "text/plain";
  reply.body = "refused: " + std::move(why);
  return reply;
}

}  // namespace holdfast::http::test
