// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

/**
 * How long a client waits for whom.
 *
 * @param silenceS beyond a call's `timeoutS`: a worker that is silent so long is taken for stalled
 * @param goneS how long neither a worker nor the master may answer before the pool counts as gone; the successor of a
 *   dead master is there within 5 s
 * @param doubtS how long a worker that has a batch may be silent before the master is asked about it; it says every
 *   second that it lives
 * @param stalledS how long a worker may take no more of a batch: Java 17 has no TCP_USER_TIMEOUT to tell a black hole by
 */
private[wire] case class Times(
    silenceS: Double = 5, goneS: Double = 10, doubtS: Double = 3, stalledS: Double = 8) {

  /** Seconds that the worker of a batch may be silent in all. */
  def silence(limits: Limits): Double = limits.timeoutS + silenceS

  /** How long a batch's worker is waited for. */
  def patience(ticket: Ticket, limits: Limits, watch: Watch, doubt: Option[Int => Unit] = None): Patience = {
    val doubtNs = (doubtS * 1e9).toLong
    val silenceNs = (silence(limits) * 1e9).toLong
    val stalledNs = math.min(silenceNs, (stalledS * 1e9).toLong)
    new Patience(watch, silenceNs, ticket.search.deadlineNs, stalledNs, doubt.map(doubtNs -> _))
  }
}
