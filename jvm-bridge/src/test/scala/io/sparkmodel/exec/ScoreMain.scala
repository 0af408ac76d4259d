// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import io.sparkmodel.{Models, SparkModelExtensions}
import io.sparkmodel.wire.Calls
import org.apache.spark.sql.{DataFrame, SparkSession}
import org.apache.spark.sql.classic.Dataset

/** A Spark session with the bridge in it, called from Python's tests. */
object ScoreMain {
  def main(arguments: Array[String]): Unit = new Calls(answer).run()

  private lazy val spark: SparkSession = {
    val session = SparkSession.builder()
      .master("local[2]")
      .config("spark.ui.enabled", "false")
      .config("spark.sql.warehouse.dir", sys.props("warehouse"))
      .config("spark.sql.extensions", classOf[SparkModelExtensions].getName)
      .getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    session
  }

  private val frames = new java.util.concurrent.ConcurrentHashMap[String, DataFrame]()

  private def answer(operation: String, a: JsonNode): Any = operation match {
    case "register" => Models.registerText(spark, a.required("name").asText, a.required("handle").asText)
    case "app" => spark.sparkContext.applicationId
    case "plan" =>
      frames.put(a.required("frame").asText, spark.sql(a.required("sql").asText))
      frame(a).queryExecution.executedPlan.treeString
    case "explain" => frame(a).asInstanceOf[Dataset[_]].queryExecution.explainString(
      org.apache.spark.sql.execution.ExplainMode.fromString("formatted"))
    case "collect" => within(a) { frame(a).collect().map(_.toSeq.asJava).toSeq.asJava }
    case "rdd" => within(a) { frame(a).rdd.map(_.getDouble(0)).collect().toSeq.asJava }
    case "metrics" => metrics(a)
  }

  private def frame(a: JsonNode): DataFrame = frames.get(a.required("frame").asText)

  /** With local properties, as a stream sets them for its micro-batches. */
  private def within[T](a: JsonNode)(body: => T): T = {
    val properties = a.path("properties")
    properties.fieldNames.asScala.foreach(key => spark.sparkContext.setLocalProperty(key, properties.get(key).asText))
    body
  }

  /** The time that the operator of a frame has waited for workers, in nanoseconds, since the frame was made. */
  private def metrics(a: JsonNode): Any =
    frame(a).queryExecution.executedPlan.collectFirst { case score: ModelScoreExec => score }
      .map(_.metrics("waitTime").value).getOrElse(-1L)
}
