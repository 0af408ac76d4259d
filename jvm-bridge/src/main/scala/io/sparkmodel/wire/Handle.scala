// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.{JsonNode, ObjectMapper}

/** Address of a worker or a master. */
case class Endpoint(host: String, port: Int) {
  override def toString: String = s"$host:$port"
}

/** Where a pool is reached; a greater epoch is newer. */
case class Directory(epoch: Long, endpoints: Seq[Endpoint], state: String, version: Int)

object Directory {
  def apply(node: JsonNode): Directory = Directory(
    node.required("epoch").asLong,
    node.required("endpoints").elements.asScala.map(e => Endpoint(e.required(0).asText, e.required(1).asInt)).toSeq,
    node.required("state").asText,
    node.required("version").asInt)
}

/**
 * How much and how long a caller asks of a pool.
 *
 * @param maxInFlight batches sent and not answered, for each caller
 * @param maxRetries times a batch may lose its worker and go to another
 * @param timeoutS longest time in the model for one batch
 * @param readyTimeoutS longest wait for a pool whose workers are all being replaced
 */
case class Limits(
    maxInFlight: Int = 2,
    maxRetries: Int = 3,
    timeoutS: Double = 60,
    readyTimeoutS: Double = 300)

/**
 * How one function calls: what it asks for beyond what its pool was registered with, and limits. These are a call's and
 * not a client's: the pool may be registered anew with others while JVMs go on that have called it.
 *
 * @param params a JSON object, or empty
 * @param names of the columns, where they are sent one by one; empty where the caller has none
 * @param byName whether `names` bind, rather than only say what the columns are called
 * @param caseSensitive whether names in upper case differ from those in lower case also where no other fits
 * @param timeoutS deadline of each batch, from when it is sent
 */
case class CallOptions(
    params: String = "",
    onError: Option[String] = None,
    timeZone: Option[String] = None,
    names: Seq[String] = Nil,
    byName: Boolean = false,
    caseSensitive: Boolean = false,
    timeoutS: Option[Double] = None,
    limits: Limits = Limits()) {

  /** The same of what a worker is told: calls that differ in the rest alone can share what was opened. */
  def told: CallOptions = copy(names = Nil, byName = false, timeoutS = None, limits = Limits())
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

/** What a pool lets its callers in by, and is known by itself: its token, and the certificate, in PEM, to trust. */
case class Credential(token: String, tls: Option[String] = None) {
  // a plan is printed, logged and shown: the token must not be in it
  override def toString: String = "Credential(...)"
}

/** What goes into a call, and what comes out: `result` is the Arrow schema of answers, as `Schemas` writes it. */
case class Contract(result: String, inputs: Option[Inputs] = None)

/** All that a caller of a pool needs, as Python's `Handle` writes it. */
case class Handle(pool: PoolRef, credential: Credential, contract: Contract, call: CallOptions) {
  def name: String = pool.name

  override def toString: String = s"Handle($name, ${pool.poolId}, version ${pool.directory.version})"
}

object Handle {
  val Marker = "sparkmodel.handle.v2"

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
    val master = node.required("master")
    val limits = Limits(
      node.required("max_in_flight").asInt,
      node.required("max_retries").asInt,
      node.required("timeout_s").asDouble,
      node.required("ready_timeout_s").asDouble)
    Handle(
      PoolRef(
        node.required("name").asText,
        node.required("pool_id").asText,
        Endpoint(master.required(0).asText, master.required(1).asInt),
        Directory(node.required("directory"))),
      Credential(node.required("token").asText, text(node, "tls")),
      Contract(
        node.required("result").asText,
        Option(node.get("inputs")).filterNot(_.isNull).map(inputs(_, node.path("like_mlflow").asBoolean))),
      CallOptions(
        call.required("params").asText,
        text(call, "on_error"),
        text(call, "time_zone"),
        call.path("names").elements.asScala.map(_.asText).toSeq,
        call.path("by_name").asBoolean,
        call.path("case_sensitive").asBoolean,
        Option(call.get("timeout_s")).filterNot(_.isNull).map(_.asDouble),
        limits))
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
