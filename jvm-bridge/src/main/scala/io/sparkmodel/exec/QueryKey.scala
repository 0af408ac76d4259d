// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.spark.{SparkEnv, TaskContext}

/**
 * What a task is a part of that is scored by one version of a model from its first row to its last: a micro-batch, else
 * a query, else a stage of a job that no query started. All attempts of all tasks have the same, on all executors, and
 * so have Python's workers (`sparkmodel/spark/forward.py`). Empty where the application is not known, as queries of two
 * would be taken for one.
 */
object QueryKey {
  private val StreamId = "sql.streaming.queryId"
  private val BatchId = "streaming.sql.batchId"
  private val RootExecution = "spark.sql.execution.root.id"
  private val Execution = "spark.sql.execution.id"
  private val Stream = "stream:"

  /** Who calls, as Python has it too: a stream, else what the function was made for, else a batch query. */
  def sourceOf(query: String, made: String): String =
    if (query.startsWith(Stream)) "stream" else if (made.isEmpty) "batch" else made

  def of(context: TaskContext): String = {
    def property(key: String) = Option(context.getLocalProperty(key)).filter(_.nonEmpty)
    val batch = for (stream <- property(StreamId); number <- property(BatchId)) yield s"$Stream$stream:$number"
    def ofApp(app: String) = property(RootExecution).orElse(property(Execution)) match {
      case Some(id) => s"query:$app:$id"
      case None => s"stage:$app:${context.stageId()}"
    }
    batch.getOrElse(SparkEnv.get.conf.getOption("spark.app.id").fold("")(ofApp))
  }
}
