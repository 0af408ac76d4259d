// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

/** What is to be done with a batch that has lost its worker. */
private[wire] sealed trait Next

private[wire] object Next {

  /** It is sent again; with nothing else in the model if it is a suspect by now. */
  case object Again extends Next

  /** It was lost too often, and nobody knows what it did. */
  case class GiveUp(fact: String, hint: String) extends Next

  /** It ends its workers: it is not sent again as a whole. */
  case class Guilty(condition: String, fact: String) extends Next
}

/**
 * The losses of one batch, and what follows from them: pure decisions, by docs/protocol.md, section 6. It is the twin of
 * `sparkmodel/wire/losses.py`.
 *
 * @param rows of the batch
 * @param place where it comes from, such as `partition 3, batch 2`
 * @param whole that of which it is a part, and which ended its workers; it begins anew but for what is known of that
 */
private[wire] final class Losses(rows: Int, place: String, whole: Option[Losses] = None) {
  import Losses._
  import Next._

  private val isPart = whole.isDefined
  private val decides: Boolean = whole.exists(of => of.decides || of.last == Killed) // a kill from outside is one too many
  private var version: Option[Int] = whole.flatMap(_.version)
  private var counted = 0
  private var receipts = 0
  private var kills = 0
  private var crashes = 0
  private var sinceNs: Option[Long] = None
  private var last = ""

  /** Times that it lost a worker, for whatever reason. */
  var total = 0

  /** Whether it has left a worker, of which nothing bad was known, for its silence. */
  var hasLeft = false

  /** Whether its rows may be what ends workers. */
  def isSuspect: Boolean = isPart || kills + crashes > 0

  /** Note the version that gets it: another one has not been ended by it. */
  def givenTo(now: Int): Unit = if (!version.contains(now)) {
    version = Some(now)
    kills = 0
    crashes = 0
  }

  /** The connection was lost amid its sending, or as its schema was read. */
  def onReceipt(maxRetries: Int, how: String): Next = {
    total += 1
    receipt(maxRetries, how)
  }

  private def receipt(maxRetries: Int, how: String): Next = {
    receipts += 1
    if (receipts <= maxRetries) Again
    else GiveUp(
      s"$place of ${count(rows, "row")}: a batch ended ${count(receipts, "worker")} of version ${version.get} " +
        s"as they received it ($how)",
      "send fewer rows in a batch, give the workers more memory, or look into their logs")
  }

  /**
   * The connection was lost, or left, after it was sent.
   *
   * @param told what the master knows of it
   * @param how the connection was lost
   */
  def judge(told: Fate, maxRetries: Int, how: String): Next = {
    total += 1
    last = told.cause
    val fact = told.fact.strip.linesIterator.nextOption().fold("its worker ended")(_.take(FactChars))
    told.fate match {
      case "waiting" | "silent" => Again
      case "received" => receipt(maxRetries, fact)
      case "in_model" => inModel(told.cause, fact, maxRetries)
      case _ =>
        counted += 1
        if (counted <= maxRetries) Again
        else GiveUp(
          s"${count(rows, "row")} of $place were on ${count(counted, "worker")} that died before they answered ($how)",
          "its rows may crash the model: score them alone, or look into the workers' logs")
    }
  }

  private def inModel(cause: String, fact: String, maxRetries: Int): Next = {
    if (cause == Killed) kills += 1 else if (cause != Hang) crashes += 1
    if (cause == Hang) {
      Guilty("PREDICT_TIMEOUT", s"${count(rows, "row")} of $place took the model, version ${version.get}, too long: $fact")
    } else if (isPart && (cause != Killed || decides)) guilty(fact)
    else if (maxRetries == 0) { // it was not alone: nobody is told of it
      GiveUp(
        s"${count(rows, "row")} of $place were in the model, version ${version.get}, as its worker ended: $fact",
        "raise max_retries, or look into these rows")
    } else if (crashes > 1 || kills > maxRetries) guilty(fact)
    else Again
  }

  private def guilty(fact: String) = {
    val ended = count(kills + crashes, "worker")
    Guilty("POISON_BATCH", s"${count(rows, "row")} of $place ended $ended of version ${version.get}, the last: $fact")
  }

  /**
   * Of a batch that was sent again uncounted, whether that has gone on for too long where there is no deadline.
   *
   * @param nowNs time of System.nanoTime
   * @param mostS seconds that it may
   */
  def drift(nowNs: Long, mostS: Double): Next = {
    val seconds = (nowNs - sinceNs.getOrElse(nowNs)) / 1e9
    if (sinceNs.isEmpty) sinceNs = Some(nowNs)
    if (seconds <= mostS) Again
    else GiveUp(
      f"${count(rows, "row")} of $place waited in worker after worker that ended, for $seconds%.0f s",
      "look into the workers' logs")
  }
}

private[wire] object Losses {
  private val Killed = "killed"
  private val Hang = "hang"
  private val FactChars = 300 // what another system says of an end may be long

  def count(number: Int, noun: String): String = if (number == 1) s"$number $noun" else s"$number ${noun}s"
}
