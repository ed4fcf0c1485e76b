// TLS for a server: certificates from files, or one made on the spot for tests.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"

// OpenSSL's SSL_CTX, whose header stays out of this one.
struct ssl_ctx_st;

namespace holdfast::http {

struct TlsFiles {
  std::string certificate;  // PEM: the server's certificate, and those up to its issuer
  std::string key;          // PEM
  std::string
      client_ca;  // PEM; when given, only clients with a certificate signed by one of these are served
};

// The certificate and key of a server, read and checked once; configures any number of contexts.
class TlsIdentity {
 public:
  // Errors: invalid_argument, naming the file and what is wrong with it.
  static Result<TlsIdentity> load(const TlsFiles& files);
  // Signed by itself, made now, for localhost: encrypts, but proves nothing to clients.
  static Result<TlsIdentity> self_signed();
  TlsIdentity(TlsIdentity&&) noexcept;
  TlsIdentity& operator=(TlsIdentity&&) noexcept;
  ~TlsIdentity();

  // TLS 1.2 or newer. False when OpenSSL refuses.
  bool apply(ssl_ctx_st& context) const;

 private:
  struct Parts;
  explicit TlsIdentity(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::http
