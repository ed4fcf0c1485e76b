// Certificates for tests, made by openssl.
#pragma once

#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/engine_process.h"

namespace holdfast::testing_support {

// <name>.pem and <name>.key in a folder of its own.
class Certificates {
 public:
  std::string certificate(const std::string& name) const { return scratch_.path(name + ".pem"); }
  std::string key(const std::string& name) const { return scratch_.path(name + ".key"); }

  void make_authority(const std::string& name) {
    run(fmt::format("req -x509 {} -keyout {} -out {} -subj /CN={} -days 2", new_key, key(name),
                    certificate(name), name));
  }
  // For 127.0.0.1 and localhost, as server and as client. `days` below 0: it has expired.
  void make(const std::string& name, const std::string& authority, int days = 2) {
    const std::string request = scratch_.path(name + ".request");
    run(fmt::format(
        "req -new {} -keyout {} -out {} -subj /CN={} -addext subjectAltName=IP:127.0.0.1,DNS:localhost",
        new_key, key(name), request, name));
    run(fmt::format(
        "x509 -req -in {} -CA {} -CAkey {} -CAcreateserial -copy_extensions copy -days {} -out {}", request,
        certificate(authority), key(authority), days, certificate(name)));
  }

 private:
  static constexpr const char* new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  void run(const std::string& words) {
    const std::string command = fmt::format("openssl {} >{} 2>&1", words, scratch_.path("openssl.log"));
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  ScratchDir scratch_;
};

}  // namespace holdfast::testing_support
