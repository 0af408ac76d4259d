// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.nio.ByteBuffer
import java.security.MessageDigest
import java.util.HexFormat

import scala.collection.mutable

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode

/**
 * What the pool's master knows of a batch whose worker was lost.
 *
 * @param fate `in_model` (its worker ended while it was in the model: it is suspect), `waiting` (its worker ended, and it
 *   had nothing to do with that), `alive` (only the connection was lost), `silent` (its worker does not answer, and has
 *   not ended) or `unknown`
 * @param cause why the worker ended: `killed`, `oom`, `hang`, `crash` or `exit`; empty where it is not known
 * @param fact the same as a part of a sentence
 */
private[wire] case class Fate(fate: String, cause: String = "", fact: String = "")

private[wire] object Fate {
  val Unknown = Fate("unknown")

  def apply(node: JsonNode): Fate =
    Fate(node.required("fate").asText, node.path("cause").asText(""), node.path("fact").asText(""))
}

/**
 * A batch that is known to end its worker, and is not scored again by that version.
 *
 * @param key by which the batch is known again
 * @param rows its size, as are the bytes: most other batches are told from it by that
 * @param condition of the error that its callers get, as is the fact
 */
case class Verdict(version: Int, key: String, rows: Long, bytes: Long, condition: String, fact: String) {

  /** As it is told to a master. */
  private[wire] def toJson: ObjectNode = Handle.json.createObjectNode()
    .put("version", version).put("key", key).put("rows", rows).put("bytes", bytes)
    .put("condition", condition).put("fact", fact)
}

object Verdict {
  private[wire] def apply(node: JsonNode): Verdict = Verdict(
    node.required("version").asInt,
    node.required("key").asText,
    node.required("rows").asLong,
    node.required("bytes").asLong,
    node.required("condition").asText,
    node.required("fact").asText)

  /** The key of a batch: clients of one language make the same of the same rows. */
  private[wire] def keyOf(stream: StreamKey, message: Seq[ByteBuffer]): String = {
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(stream.content)
    message.foreach(part => digest.update(part.duplicate()))
    HexFormat.of.formatHex(digest.digest()).take(KeyDigits)
  }

  private val KeyDigits = 32
}

/** The verdicts that this client has come to: a pool's directory may tell them later, or not at all. */
private[wire] final class Verdicts(clock: () => Long = () => System.nanoTime) {
  import Verdicts._

  private val known = mutable.Queue.empty[(Long, Verdict)]

  def add(verdict: Verdict): Unit = synchronized {
    known.filterInPlace { case (_, other) => other != verdict }
    known += clock() -> verdict
    if (known.size > Kept) known.dequeue()
  }

  /** The verdict on a batch, of these and of a directory's. */
  def on(ticket: Ticket, version: Int, told: Seq[Verdict]): Option[Verdict] = {
    def mayBe(verdict: Verdict) =
      verdict.version == version && verdict.rows == ticket.rows && verdict.bytes == ticket.bytes
    val own = synchronized {
      known.dequeueWhile { case (since, _) => clock() - since > KeptNs }
      known.iterator.map(_._2).filter(mayBe).toSeq
    }
    (own ++ told.filter(mayBe)).find(_.key == ticket.key)
  }
}

private[wire] object Verdicts {

  /** What may be done about a batch that ends its workers. */
  def hint(condition: String): String =
    if (condition == "PREDICT_TIMEOUT") "raise timeout_s, or look into these rows"
    else "look into these rows, and into the worker's log"

  private val Kept = 100
  private val KeptNs = 3600000000000L
}
