// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode

/** One version of a model, as the control service tells of it. */
private[commands] final class ModelVersion(node: JsonNode) {
  val version: Int = node.path("version").asInt
  val state: String = node.path("state").asText
  val weight: Double = node.path("weight").asDouble
  val workers: Int = node.path("workers").asInt
  val rows: Long = node.path("rows").asLong
  val batches: Long = node.path("batches").asLong
  val errors: Long = node.path("errors").asLong
  val errorRate: Option[Double] = number(node.path("error_rate"))
  val p50S: Option[Double] = number(node.path("latency").path("p50_s"))
  val p95S: Option[Double] = number(node.path("latency").path("p95_s"))

  def text(key: String): String = Option(node.get(key)).filterNot(_.isNull).map(_.asText).orNull

  override def toString: String = {
    val served = s"$rows rows, $batches batches, $errors errors"
    val times = s"since ${text("since")}" + Option(text("until")).fold("")(until => s" until $until")
    val share = if (weight > 0) f", ${weight * 100}%.1f%% of the queries, $workers workers" else ""
    s"$state$share, $served; ${text("source")}, by ${text("by")} $times" +
      Option(text("note")).filter(_.nonEmpty).fold("")(note => s": ${note.takeWhile(_ != '\n')}")
  }

  private def number(node: JsonNode): Option[Double] = if (node.isNumber) Some(node.asDouble) else None
}

private[commands] object ModelVersion {
  def all(card: JsonNode): Seq[ModelVersion] = card.path("versions").elements.asScala.map(new ModelVersion(_)).toSeq
}
