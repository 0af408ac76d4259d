// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.util.Base64

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}

/**
 * How much and how long a caller asks of a pool.
 *
 * @param maxInFlight batches sent and not answered, for each caller
 * @param maxRetries times a batch may lose its worker and go to another
 * @param timeoutS longest time of one call of the model
 * @param readyTimeoutS longest wait for a pool whose workers are all being replaced, or start for this call
 * @param onError what becomes of rows at fault where a call does not say: `fail`, `null` or `struct`
 * @param bisectCalls messages that the search for such rows in one batch may send, and `bisectS` the seconds it may take
 */
case class Limits(
    maxInFlight: Int = 2,
    maxRetries: Int = 3,
    timeoutS: Double = 60,
    readyTimeoutS: Double = 300,
    onError: String = "fail",
    bisectCalls: Int = 10000,
    bisectS: Double = 600)

object Limits {

  /** The limits in a message. */
  private[wire] def apply(node: JsonNode): Limits = Limits(
    node.required("max_in_flight").asInt,
    node.required("max_retries").asInt,
    node.required("timeout_s").asDouble,
    node.required("ready_timeout_s").asDouble,
    node.path("on_error").asText("fail"),
    node.path("bisect_calls").asInt(10000),
    node.path("bisect_s").asDouble(600))
}

/**
 * How one function calls: what it asks for beyond what its pool was registered with, and limits. These are a call's and
 * not a client's: the pool may be registered anew with others while JVMs go on that have called it.
 *
 * @param params a JSON object, or empty
 * @param names of the columns, where they are sent one by one; empty where the caller has none
 * @param byName whether `names` bind, rather than only say what the columns are called
 * @param caseSensitive whether names in upper case differ from those in lower case also where no other fits
 * @param timeoutS deadline of each batch, from when it is sent
 * @param app which Spark application calls, so that queries of two are told apart; empty where it is not known
 * @param query what is scored by one version from the first row to the last; empty where each batch is for itself
 * @param source who calls, for the pool's figures: `batch`, `stream`, `sql`, `rest` or `python`; empty where nobody says
 * @param limits those that held when the handle was made; the pool's directory has those of now
 */
case class CallOptions(
    params: String = "",
    onError: Option[String] = None,
    timeZone: Option[String] = None,
    names: Seq[String] = Nil,
    byName: Boolean = false,
    caseSensitive: Boolean = false,
    timeoutS: Option[Double] = None,
    app: String = "",
    query: String = "",
    source: String = "",
    limits: Limits = Limits()) {

  /** The same of what a worker is told: calls that differ in the rest alone can share what was opened. */
  def told: CallOptions = copy(names = Nil, byName = false, timeoutS = None, app = "", limits = Limits())
}

/**
 * The inputs of a model's signature.
 *
 * @param schema an Arrow schema, as the base64 of its IPC message; what has no name has an empty one in it, what takes
 *   any type is of type null
 * @param required whether each must be given
 * @param hasTensors whether they are tensors, whose columns only a worker can check
 * @param likeMlflow whether columns go by position, and those beyond the signature are not read
 */
case class Inputs(schema: String, required: Seq[Boolean], hasTensors: Boolean, likeMlflow: Boolean)

/** Which pool, and where to find it: where the newest directory is to be had, and the one when this was written. */
case class PoolRef(name: String, poolId: String, master: Endpoint, directory: Directory)

/**
 * What a pool lets its callers in by, and is known by itself.
 *
 * @param claims what is allowed, to whom and until when
 * @param key what belongs to these claims, in base64; it is never sent: each side proves that it has it
 * @param tls the certificate, in PEM, to trust
 */
case class Credential(claims: String, key: String, tls: Option[String] = None) {
  // a plan is printed, logged and shown: the key must not be in it
  override def toString: String = "Credential(...)"
}

/**
 * What goes into a call, and what comes out.
 *
 * @param result the Arrow schema of answers, as `Schemas` writes it
 * @param digest of what plans rest on: a version that does not accept it is not asked
 */
case class Contract(result: String, inputs: Option[Inputs] = None, digest: String = "")

/** All that a caller of a pool needs, as Python's `Handle` writes it. */
case class Handle(pool: PoolRef, credential: Credential, contract: Contract, call: CallOptions) {
  def name: String = pool.name

  override def toString: String = s"Handle($name, ${pool.poolId}, version ${pool.directory.version})"
}

object Handle {
  val Marker = "sparkmodel.handle.v3"

  private val KeyBytes = 32
  private val marker = (Marker + "{").getBytes(UTF_8)
  private[wire] val json = new ObjectMapper()

  /** The handle in a pickled command or in a text; None if there is none. */
  def find(bytes: Array[Byte]): Option[Handle] = {
    val start = indexOf(bytes, marker)
    if (start < 0) None
    else {
      val from = start + marker.length - 1
      val parser = json.getFactory.createParser(bytes, from, bytes.length - from)
      try Some(read(json.readTree[JsonNode](parser)))
      catch { case e: IOException => throw new IllegalArgumentException(s"a handle cannot be read: ${e.getMessage}", e) }
      finally parser.close()
    }
  }

  private def read(node: JsonNode): Handle = {
    val call = node.required("call")
    Handle(
      PoolRef(
        node.required("name").asText,
        node.required("pool_id").asText,
        Endpoint(node.required("master")),
        Directory(node.required("directory"))),
      Credential(node.required("claims").asText, key(node), text(node, "tls")),
      Contract(
        node.required("result").asText,
        Option(node.get("inputs")).filterNot(_.isNull).map(inputs(_, node.path("like_mlflow").asBoolean)),
        text(node, "digest").getOrElse("")),
      CallOptions(
        call.required("params").asText,
        text(call, "on_error"),
        text(call, "time_zone"),
        call.path("names").elements.asScala.map(_.asText).toSeq,
        call.path("by_name").asBoolean,
        call.path("case_sensitive").asBoolean,
        Option(call.get("timeout_s")).filterNot(_.isNull).map(_.asDouble),
        text(call, "app").getOrElse(""),
        text(call, "query").getOrElse(""),
        text(call, "source").getOrElse(""),
        Limits(node)))
  }

  private def key(node: JsonNode): String = {
    val text = node.required("key").asText
    val isSound =
      try Base64.getDecoder.decode(text).length == KeyBytes
      catch { case _: IllegalArgumentException => false }
    if (!isSound) throw new IllegalArgumentException("a handle cannot be read: its key is damaged")
    text
  }

  private def inputs(node: JsonNode, likeMlflow: Boolean): Inputs =
    Inputs(
      node.required("schema").asText,
      node.required("required").elements.asScala.map(_.asBoolean).toSeq,
      node.required("shapes").elements.asScala.exists(!_.isNull),
      likeMlflow)

  private def text(node: JsonNode, key: String): Option[String] =
    Option(node.get(key)).filterNot(_.isNull).map(_.asText)

  private def indexOf(bytes: Array[Byte], wanted: Array[Byte]): Int =
    (0 to bytes.length - wanted.length).indexWhere(i => wanted.indices.forall(k => bytes(i + k) == wanted(k)))
}
