// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode

/** Address of a worker or a master. */
case class Endpoint(host: String, port: Int) {

  // an IPv6 address stands in brackets, as its colons are not the port's
  override def toString: String = if (host.contains(":")) s"[$host]:$port" else s"$host:$port"
}

object Endpoint {

  /** The address in a message: a host and a port. */
  private[wire] def apply(node: JsonNode): Endpoint = Endpoint(node.required(0).asText, node.required(1).asInt)
}

/** Which state of a pool is meant: the number of its master, counted from 1, and that of the master's change. */
case class Revision(incarnation: Int, number: Long) extends Ordered[Revision] {
  override def compare(other: Revision): Int =
    if (incarnation != other.incarnation) incarnation.compare(other.incarnation) else number.compare(other.number)
}

/**
 * One version that has workers, or gets some as soon as it is asked for.
 *
 * @param weight share of the queries that begin now; 0 for a version that only those get which are held to it
 * @param accepts digests of the plans that it answers right
 */
case class Served(version: Int, endpoints: Seq[Endpoint], weight: Double, accepts: Seq[String]) {

  /** Whether a plan of that digest gets right answers here; an empty one asks for nothing. */
  def takes(digest: String): Boolean = digest.isEmpty || accepts.contains(digest)
}

/**
 * Where the versions of a pool are reached; a greater revision is newer.
 *
 * @param state `ready`, `healing` (workers are being replaced), `cold` (none until somebody calls) or `stopped`
 * @param version what new queries get, but for the share of a canary
 * @param master settles versions, and has the newest directory when no worker answers
 * @param limits of all calls of the pool, as they are now; None is as a call's handle says
 * @param condemned the newest batches that are known to end their workers
 */
case class Directory(
    revision: Revision,
    state: String,
    version: Int,
    served: Seq[Served],
    master: Option[Endpoint] = None,
    limits: Option[Limits] = None,
    condemned: Seq[Verdict] = Nil) {

  /** The workers of all versions. */
  def endpoints: Seq[Endpoint] = served.flatMap(_.endpoints).distinct

  /** The workers of one version. */
  def endpointsOf(version: Int): Seq[Endpoint] = served.find(_.version == version).toSeq.flatMap(_.endpoints)
}

object Directory {

  /** What is known before anything is: older than all that a pool tells. */
  private[wire] val Unknown = Directory(Revision(-1, 0), "healing", 0, Nil)

  def apply(node: JsonNode): Directory = Directory(
    Revision(node.required("incarnation").asInt, node.required("number").asLong),
    node.required("state").asText,
    node.required("version").asInt,
    node.required("served").elements.asScala.map(served).toSeq,
    present(node, "master").map(Endpoint(_)),
    present(node, "limits").map(Limits(_)),
    node.path("condemned").elements.asScala.map(Verdict(_)).toSeq)

  private def served(node: JsonNode) = Served(
    node.required("version").asInt,
    node.required("endpoints").elements.asScala.map(Endpoint(_)).toSeq,
    node.required("weight").asDouble,
    node.required("accepts").elements.asScala.map(_.asText).toSeq)

  private def present(node: JsonNode, key: String): Option[JsonNode] = Option(node.get(key)).filterNot(_.isNull)
}
