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
 * What one function asks for beyond what its pool was registered with; `params` is a JSON object or empty.
 *
 * @param timeoutS deadline of each batch, from when it is sent
 */
case class CallOptions(
    params: String = "",
    onError: Option[String] = None,
    timeZone: Option[String] = None,
    timeoutS: Option[Double] = None)

/**
 * The inputs of a model's signature.
 *
 * @param schema an Arrow schema, as the base64 of its IPC message; what may be left out may be NULL in it, what has no
 *   name has an empty one, what takes any type is of type null
 * @param hasTensors whether they are tensors, whose columns only a worker can check
 * @param likeMlflow whether columns go by position, and those beyond the signature are not read
 */
case class Inputs(schema: String, hasTensors: Boolean, likeMlflow: Boolean)

/**
 * Endpoints, token and limits of a pool, as Python's `Handle` writes them.
 *
 * `result` is the Arrow schema of answers: the base64 of its IPC message. `tls` is the certificate, in PEM, to trust.
 */
case class Handle(
    name: String,
    poolId: String,
    token: String,
    master: Endpoint,
    directory: Directory,
    result: String,
    maxInFlight: Int,
    maxRetries: Int,
    timeoutS: Double,
    readyTimeoutS: Double,
    call: CallOptions,
    tls: Option[String] = None,
    inputs: Option[Inputs] = None) {
  private[wire] def what: String = s"Cannot score with '$name'"

  // a plan is printed, logged and shown: the token must not be in it
  override def toString: String = s"Handle($name, $poolId, version ${directory.version})"
}

object Handle {
  val Marker = "sparkmodel.handle.v1"

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
    Handle(
      node.required("name").asText,
      node.required("pool_id").asText,
      node.required("token").asText,
      Endpoint(master.required(0).asText, master.required(1).asInt),
      Directory(node.required("directory")),
      node.required("result").asText,
      node.required("max_in_flight").asInt,
      node.required("max_retries").asInt,
      node.required("timeout_s").asDouble,
      node.required("ready_timeout_s").asDouble,
      CallOptions(
        call.required("params").asText,
        text(call, "on_error"),
        text(call, "time_zone"),
        Option(call.get("timeout_s")).filterNot(_.isNull).map(_.asDouble)),
      text(node, "tls"),
      Option(node.get("inputs")).filterNot(_.isNull).map(inputs(_, node.path("like_mlflow").asBoolean)))
  }

  private def inputs(node: JsonNode, likeMlflow: Boolean): Inputs =
    Inputs(
      node.required("schema").asText,
      node.required("shapes").elements.asScala.exists(!_.isNull),
      likeMlflow)

  private def text(node: JsonNode, key: String): Option[String] =
    Option(node.get(key)).filterNot(_.isNull).map(_.asText)

  private def indexOf(bytes: Array[Byte], wanted: Array[Byte]): Int =
    (0 to bytes.length - wanted.length).indexWhere(i => wanted.indices.forall(k => bytes(i + k) == wanted(k)))
}
