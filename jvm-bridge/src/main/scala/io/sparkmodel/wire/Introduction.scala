// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.nio.charset.StandardCharsets.UTF_8
import java.security.{MessageDigest, SecureRandom}
import java.util.Base64
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

import com.fasterxml.jackson.databind.JsonNode

/** How the two ends of a connection prove that they have a key, without showing it: docs/protocol.md, section 1. */
private[wire] object Proofs {
  val NonceBytes = 32

  /** What a server shows first: so nobody else learns anything of a client. */
  def server(key: Array[Byte], client: Array[Byte], server: Array[Byte], claims: String): Array[Byte] =
    hmac(key, "server", client, server, claims)

  /** What a client shows then. */
  def client(key: Array[Byte], client: Array[Byte], server: Array[Byte], claims: String): Array[Byte] =
    hmac(key, "client", client, server, claims)

  /** Whether a proof is right; takes as long whatever is wrong with it. */
  def isSame(shown: Array[Byte], expected: Array[Byte]): Boolean = MessageDigest.isEqual(shown, expected)

  def nonce(): Array[Byte] = {
    val bytes = new Array[Byte](NonceBytes)
    random.nextBytes(bytes)
    bytes
  }

  private lazy val random = new SecureRandom()

  private def hmac(
      key: Array[Byte], side: String, client: Array[Byte], server: Array[Byte], claims: String): Array[Byte] = {
    val mac = Mac.getInstance("HmacSHA256")
    mac.init(new SecretKeySpec(key, "HmacSHA256"))
    Seq(s"sparkmodel/3 $side\u0000".getBytes(UTF_8), client, server, claims.getBytes(UTF_8)).foreach(mac.update)
    mac.doFinal()
  }
}

/** A client's part of a greeting: what it says, and what it makes of what the server says. */
private[wire] final class Introduction(credential: Credential, model: String, where: Endpoint, what: String) {
  import Introduction._

  private val ours = Proofs.nonce()

  /** The payload of the first request. Nothing in it, nor anything that it could be found by, is secret. */
  def hello: Array[Byte] =
    Handle.json.createObjectNode()
      .put("claims", credential.claims)
      .put("client", client)
      .put("model", model)
      .put("nonce", Base64.getEncoder.encodeToString(ours))
      .toString.getBytes(UTF_8)

  /**
   * The payload of the second one.
   *
   * Throws AUTHENTICATION_FAILED if the server has not proved that it has the key; it has been told nothing then.
   */
  def proof(said: JsonNode): Array[Byte] = {
    val theirs = bytes(said, "nonce")
    if (theirs.length != Proofs.NonceBytes) throw Frames.broken(what, s"a nonce has ${theirs.length} bytes")
    val key = decoded(credential.key, "the key")
    if (!Proofs.isSame(bytes(said, "proof"), Proofs.server(key, ours, theirs, credential.claims))) {
      throw new ModelException(
        "AUTHENTICATION_FAILED", what, s"$where has no key of this pool", "take the handle from sm.get(name)")
    }
    val proof = Base64.getEncoder.encodeToString(Proofs.client(key, ours, theirs, credential.claims))
    Handle.json.createObjectNode().put("proof", proof).toString.getBytes(UTF_8)
  }

  /** An error that a server tells before it has proved who it is: only some are taken from a stranger. */
  def refusal(said: ModelException): ModelException =
    if (Believed(said.condition)) said else Frames.broken(what, s"a stranger says: ${said.getMessage}")

  private def bytes(node: JsonNode, key: String): Array[Byte] =
    Option(node.get(key)).filter(_.isTextual).map(value => decoded(value.asText, s"'$key'"))
      .getOrElse(throw Frames.broken(what, s"a greeting has no text '$key'"))

  private def decoded(text: String, name: String): Array[Byte] =
    try Base64.getDecoder.decode(text)
    catch { case e: IllegalArgumentException => throw Frames.broken(what, s"$name is not base64", e) }
}

private[wire] object Introduction {

  /** Of each message before a proof. */
  val MaxBytes = 4096

  private val Believed = Set("AUTHENTICATION_FAILED", "PROTOCOL_VERSION_MISMATCH")

  private lazy val client = s"jvm/${Option(getClass.getPackage.getImplementationVersion).getOrElse("unpacked")}"
}
