// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.util.concurrent.ThreadLocalRandom

import scala.collection.mutable

/** A caller on its way to a worker, or to its query's version: how long it may take, and what it has tried in vain. */
private[wire] final class Search(what: String, val deadlineNs: Option[Long]) {
  import Search._

  private var startedNs = System.nanoTime
  private var heardNs = startedNs
  private var waits = 0

  /** Workers that could not be reached, or serve another version, since the master was asked. */
  val failed = mutable.Set.empty[Endpoint]

  /** Workers that were asked how quick they are. */
  val asked = mutable.Set.empty[Endpoint]

  /** Whether nothing is known of the worker that was picked last, and there is another one. */
  var doubts = false

  /** What came of the last one that was asked where the pool is, if it went wrong. */
  var failure: Throwable = _

  /** That of a part of the same batch. */
  def again(): Search = new Search(what, deadlineNs)

  /** Begin anew, for a batch that was on its way before. */
  def restart(): Unit = {
    startedNs = System.nanoTime
    heardNs = startedNs
    failed.clear()
    asked.clear()
  }

  /** Somebody of the pool has answered. */
  def hear(): Unit = heardNs = System.nanoTime

  /** Whether somebody of the pool has answered since a time of System.nanoTime. */
  def hasHeardSince(timeNs: Long): Boolean = heardNs - timeNs >= 0

  /** Seconds since it began. */
  def waitedS: Double = (System.nanoTime - startedNs) / 1e9

  /** Seconds since anybody of the pool has answered. */
  def silentS: Double = (System.nanoTime - heardNs) / 1e9

  /** Whether the deadline has passed. */
  def isOver: Boolean = deadlineNs.exists(_ - System.nanoTime <= 0)

  /** Milliseconds left until the deadline, 0 without one. */
  def budgetMs(): Long = deadlineNs.fold(0L) { deadline =>
    val left = deadline - System.nanoTime
    if (left > 0) math.max(1, left / 1000000) else throw overdue
  }

  /** The error of a caller whose deadline has passed. */
  def overdue: ModelException =
    if (waits > 0) {
      new ModelException(
        "POOL_BUSY",
        what,
        "all workers were busy or being replaced until the deadline",
        "add workers, or raise timeout_s")
    } else {
      new ModelException(
        "DEADLINE_EXCEEDED", what, "no answer came within the deadline", "raise timeout_s, or add workers")
    }

  /** Wait a little, the longer the more often. */
  def pause(watch: Watch): Unit = {
    waits += 1
    val highNs = math.min(BackoffNs._2, BackoffNs._1 << math.min(waits, 10))
    val nanos = ThreadLocalRandom.current.nextLong(BackoffNs._1, highNs)
    budgetMs()
    Patience.sleep(deadlineNs.fold(nanos)(deadline => math.min(nanos, deadline - System.nanoTime)), watch)
  }
}

private[wire] object Search {
  private val BackoffNs = (5000000L, 500000000L)
}
