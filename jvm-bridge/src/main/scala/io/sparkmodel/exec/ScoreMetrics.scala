// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import io.sparkmodel.wire.Ticket
import org.apache.spark.SparkContext
import org.apache.spark.sql.execution.metric.{SQLMetric, SQLMetrics}

/** What an operator shows in Spark's UI. */
case class ScoreMetrics(
    rowsScored: SQLMetric,
    batches: SQLMetric,
    bytesSent: SQLMetric,
    bytesReceived: SQLMetric,
    encodeTime: SQLMetric,
    sendTime: SQLMetric,
    waitTime: SQLMetric,
    queueTime: SQLMetric,
    predictTime: SQLMetric,
    retries: SQLMetric,
    numOutputRows: SQLMetric) {

  /** Count an answered batch. */
  def add(ticket: Ticket, rows: Int): Unit = {
    rowsScored += rows
    batches += 1
    bytesSent += ticket.sentBytes
    waitTime += ticket.waitNs
    queueTime += ticket.queueUs * 1000
    predictTime += ticket.predictUs * 1000
    retries += ticket.retries
  }

  /** Run something, and add its time to a metric. */
  def timed[T](metric: SQLMetric)(body: => T): T = {
    val started = System.nanoTime
    try body
    finally metric += System.nanoTime - started
  }

  def byName: Map[String, SQLMetric] = productElementNames.zip(productIterator.map(_.asInstanceOf[SQLMetric])).toMap
}

object ScoreMetrics {
  def create(context: SparkContext): ScoreMetrics = ScoreMetrics(
    rowsScored = SQLMetrics.createMetric(context, "rows scored"),
    batches = SQLMetrics.createMetric(context, "batches sent to workers"),
    bytesSent = SQLMetrics.createSizeMetric(context, "data sent to workers"),
    bytesReceived = SQLMetrics.createSizeMetric(context, "data returned from workers"),
    encodeTime = SQLMetrics.createNanoTimingMetric(context, "time copying columns"),
    sendTime = SQLMetrics.createNanoTimingMetric(context, "time sending"),
    waitTime = SQLMetrics.createNanoTimingMetric(context, "time waiting for workers"),
    queueTime = SQLMetrics.createNanoTimingMetric(context, "time in workers' queues"),
    predictTime = SQLMetrics.createNanoTimingMetric(context, "time in predict"),
    retries = SQLMetrics.createMetric(context, "retries on other workers"),
    numOutputRows = SQLMetrics.createMetric(context, "number of output rows"))
}
