// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import io.sparkmodel.call.ModelCall
import org.apache.spark.TaskContext
import org.apache.spark.rdd.RDD
import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.QueryPlan
import org.apache.spark.sql.catalyst.plans.physical.{Partitioning, UnknownPartitioning}
import org.apache.spark.sql.execution.{SparkPlan, UnaryExecNode}
import org.apache.spark.sql.execution.metric.SQLMetric
import org.apache.spark.sql.vectorized.ColumnarBatch

/**
 * Scores rows with models in pools of workers, straight from this JVM.
 *
 * @param udfs the calls, all of models
 * @param resultAttrs their results
 * @param kept columns of the child that are put out again, before the results
 * @param isColumnar whether batches of columns come in and go out, or rows
 * @param isRamping whether somebody above may have enough after a few rows
 */
case class ModelScoreExec(
    udfs: Seq[PythonUDF],
    resultAttrs: Seq[Attribute],
    kept: Seq[Attribute],
    child: SparkPlan,
    isColumnar: Boolean = false,
    isRamping: Boolean = false)
  extends UnaryExecNode {

  override def output: Seq[Attribute] = kept ++ resultAttrs
  override def producedAttributes: AttributeSet = AttributeSet(resultAttrs)
  override def supportsColumnar: Boolean = isColumnar
  override def supportsRowBased: Boolean = !isColumnar

  override def outputPartitioning: Partitioning = child.outputPartitioning match {
    case lost: Expression if !lost.references.subsetOf(outputSet) =>
      UnknownPartitioning(child.outputPartitioning.numPartitions)
    case same => same
  }
  override def outputOrdering: Seq[SortOrder] = child.outputOrdering.takeWhile(_.references.subsetOf(outputSet))

  @transient private lazy val shown: String = udfs.map { udf =>
    val handle = ModelCall.handleOf(udf).get
    s"${handle.name} v${handle.pool.directory.version}"
  }.mkString(", ")

  override def nodeName: String = s"ModelScore $shown"

  override def simpleString(maxFields: Int): String =
    s"$nodeName ${udfs.mkString("[", ", ", "]")}, ${resultAttrs.mkString("[", ", ", "]")}, path: $path"

  override def verboseStringWithOperatorId(): String =
    s"""
       |$formattedNodeName
       |${QueryPlan.generateFieldString("Input", child.output)}
       |${QueryPlan.generateFieldString("Output", output)}
       |Models: $shown
       |Versions: served when this was planned; a query is held to that which its pool names when it runs
       |Path: $path
       |""".stripMargin

  private def path: String = if (isColumnar) "executor JVM, columns" else "executor JVM, rows"

  @transient private lazy val scoreMetrics: ScoreMetrics = ScoreMetrics.create(sparkContext)
  override lazy val metrics: Map[String, SQLMetric] = scoreMetrics.byName

  override protected def doExecute(): RDD[InternalRow] = {
    val make = scorers(isColumnar = false)
    val (input, keep, result) = (child.output, kept, output)
    val numOutputRows = scoreMetrics.numOutputRows
    child.execute().mapPartitionsWithIndex({ (index, rows) =>
      if (rows.isEmpty) Iterator.empty
      else new RowScoring(make(TaskContext.get()), rows, input, keep, result, index).map { row =>
        numOutputRows += 1
        row
      }
    }, preservesPartitioning = true)
  }

  override protected def doExecuteColumnar(): RDD[ColumnarBatch] = {
    val make = scorers(isColumnar = true)
    val numOutputRows = scoreMetrics.numOutputRows
    child.executeColumnar().mapPartitions({ batches =>
      new ColumnarScoring(make(TaskContext.get()), batches).map { batch =>
        numOutputRows += batch.numRows
        batch
      }
    }, preservesPartitioning = true)
  }

  /** What makes a task's scorer; nothing of the plan goes to the executors. */
  private def scorers(isColumnar: Boolean): TaskContext => Scorer = {
    val calls = udfs.map(ScoreCall(_))
    val input = child.output
    val keep = if (isColumnar) kept else Nil
    val timeZone = conf.sessionLocalTimeZone
    val (counted, ramping) = (scoreMetrics, isRamping)
    context => new Scorer(calls, input, keep, timeZone, isColumnar, ramping, context, counted)
  }

  override protected def withNewChildInternal(newChild: SparkPlan): ModelScoreExec = copy(child = newChild)
}
