#include "http/tls.h"

#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "http/openssl_handle.h"

namespace holdfast::http {
namespace {

using FileHandle = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown" : reason;
}

Error bad_file(const std::string& path, std::string_view what) {
  return Error(Errc::invalid_argument, fmt::format("{}: {} ({})", path, what, openssl_reason()));
}

// Never asks anybody for a passphrase.
int no_passphrase(char*, int, int, void*) { return -1; }

Result<std::vector<Certificate>> read_certificates(const std::string& path) {
  const FileHandle file(BIO_new_file(path.c_str(), "r"));
  if (!file) return bad_file(path, "cannot be read");
  std::vector<Certificate> found;
  while (X509* one = PEM_read_bio_X509(file.get(), nullptr, no_passphrase, nullptr)) found.emplace_back(one);
  if (found.empty()) return bad_file(path, "holds no certificate in PEM");
  ERR_clear_error();
  return found;
}

std::string text_of(const ASN1_TIME* time) {
  const FileHandle memory(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(memory.get(), time);
  char text[64] = "";
  const int length = BIO_read(memory.get(), text, sizeof text);
  return std::string(text, length > 0 ? static_cast<std::size_t>(length) : 0);
}

Status check_dates(const std::string& path, const X509& certificate) {
  const ASN1_TIME* from = X509_get0_notBefore(&certificate);
  const ASN1_TIME* until = X509_get0_notAfter(&certificate);
  if (X509_cmp_current_time(until) < 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: the certificate expired on {}", path, text_of(until)));
  }
  if (X509_cmp_current_time(from) > 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: the certificate is not valid before {}", path, text_of(from)));
  }
  return Status();
}

}  // namespace

struct TlsIdentity::Parts {
  std::vector<Certificate> chain;  // the server's own first
  PrivateKey key;
  std::vector<Certificate> client_issuers;
};

TlsIdentity::TlsIdentity(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
TlsIdentity::TlsIdentity(TlsIdentity&&) noexcept = default;
TlsIdentity& TlsIdentity::operator=(TlsIdentity&&) noexcept = default;
TlsIdentity::~TlsIdentity() = default;

Result<TlsIdentity> TlsIdentity::load(const TlsFiles& files) {
  auto parts = std::make_unique<Parts>();
  HF_TRY(parts->chain, read_certificates(files.certificate));
  const FileHandle file(BIO_new_file(files.key.c_str(), "r"));
  if (!file) return bad_file(files.key, "cannot be read");
  parts->key.reset(PEM_read_bio_PrivateKey(file.get(), nullptr, no_passphrase, nullptr));
  if (!parts->key) return bad_file(files.key, "holds no private key in PEM without a passphrase");
  if (X509_check_private_key(parts->chain.front().get(), parts->key.get()) != 1) {
    return bad_file(files.key, fmt::format("is not the key of the certificate in {}", files.certificate));
  }
  HF_CHECK(check_dates(files.certificate, *parts->chain.front()));
  if (!files.client_ca.empty()) {
    HF_TRY(parts->client_issuers, read_certificates(files.client_ca));
  }
  return TlsIdentity(std::move(parts));
}

Result<TlsIdentity> TlsIdentity::self_signed() {
  constexpr long validity_seconds = 10l * 365 * 24 * 3600;
  auto parts = std::make_unique<Parts>();
  parts->key.reset(EVP_EC_gen("P-256"));
  Certificate certificate(X509_new());
  X509* made = certificate.get();
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
  X509_gmtime_adj(X509_getm_notBefore(made), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made), validity_seconds);
  X509_set_pubkey(made, parts->key.get());
  X509_NAME* name = X509_get_subject_name(made);
  const auto* common_name = reinterpret_cast<const unsigned char*>("holdfast (signed by itself)");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(made, name);
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
  if (extension != nullptr) {
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  }
  if (!parts->key || X509_sign(made, parts->key.get(), EVP_sha256()) == 0) {
    return Error(Errc::internal, fmt::format("cannot make a certificate: {}", openssl_reason()));
  }
  parts->chain.push_back(std::move(certificate));
  return TlsIdentity(std::move(parts));
}

bool TlsIdentity::apply(SSL_CTX& context) const {
  bool good = SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION) == 1 &&
              SSL_CTX_use_certificate(&context, parts_->chain.front().get()) == 1 &&
              SSL_CTX_use_PrivateKey(&context, parts_->key.get()) == 1;
  for (std::size_t i = 1; i < parts_->chain.size(); ++i) {
    good = good && SSL_CTX_add1_chain_cert(&context, parts_->chain[i].get()) == 1;
  }
  if (parts_->client_issuers.empty()) return good;
  Store store(X509_STORE_new());
  for (const auto& issuer : parts_->client_issuers) {
    good = good && X509_STORE_add_cert(store.get(), issuer.get()) == 1 &&
           SSL_CTX_add_client_CA(&context, issuer.get()) == 1;
  }
  SSL_CTX_set_cert_store(&context, store.release());
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // Sessions of one listener are not resumed on another (SSL_CTX_set_session_id_context(3)).
  const auto* id = reinterpret_cast<const unsigned char*>("holdfast");
  return good && SSL_CTX_set_session_id_context(&context, id, 8) == 1;
}

}  // namespace holdfast::http
